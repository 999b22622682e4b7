namespace Retro.Pretrained;

/// <summary>What of the pretrained decoder a RETROfit trains besides what it adds.</summary>
public enum RetrofitUnfreeze
{
    /// <summary>Nothing (section 4.2 of the paper): without retrieval the model stays the original, bit for bit.</summary>
    Nothing,

    /// <summary>The decoder's norms.</summary>
    Norms,

    /// <summary>Everything. With much data this predicts better (arXiv 2310.07713), and changes the model without retrieval.</summary>
    All,
}
