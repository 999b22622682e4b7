using Retro.Modeling;

namespace Retro.Pretrained;

/// <summary>What a pretrained decoder is, as far as it is known without its weights.</summary>
/// <param name="Family">The architecture, see <see cref="PretrainedOrigin.Family"/>.</param>
/// <param name="Config">Its configuration.</param>
/// <param name="ContextLength">Tokens that it was trained to read at once, see <see cref="PretrainedOrigin.ContextLength"/>.</param>
/// <param name="StoredTypes">Types of the stored values, see <see cref="PretrainedOrigin.StoredTypes"/>.</param>
public sealed record PretrainedDescription(string Family, RetroConfig Config, int? ContextLength, IReadOnlyList<string> StoredTypes);
