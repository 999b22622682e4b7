namespace Retro.Modeling;

/// <summary>Where the decoder's self-attention and feed-forward branches are normalized.</summary>
public enum NormPlacement
{
    /// <summary>What they read: x + branch(norm(x)), as in GPT-2 and Llama.</summary>
    Before,

    /// <summary>What they give: x + norm(branch(x)), as in OLMo 2 (arXiv 2501.00656).</summary>
    After,

    /// <summary>Both: x + norm(branch(norm(x))), as in Gemma 2 (arXiv 2408.00118).</summary>
    Both,
}
