using Retro.Modeling;
using Retro.Pretrained;
using Retro.Training;

namespace Retro.Cli;

/// <summary>Settings that a model of some size is trained with where nothing is said.</summary>
internal static class TrainingRecipes
{
    /// <summary>How many times as fast as a large decoder that is trained, too, what is added to it moves.</summary>
    public const int AdditionsRate = 80;

    /// <summary>Below so many parameters, the recipe that lets a small model learn within minutes.</summary>
    private const long SmallModel = 50_000_000;

    /// <summary>Whether a model is so small that it takes the recipe with which such models learn within minutes.</summary>
    public static bool IsSmall(RetroConfig config) => config.CountParameters().Total < SmallModel;

    /// <summary>
    /// What fits retrieval onto a decoder: the recipe of small models, by which what is added learns to read. It would undo what a larger decoder has learned,
    /// which therefore moves at an <see cref="AdditionsRate"/>th of it, AdamW's part at the paper's 0.0002.
    /// </summary>
    /// <param name="decoder">The decoder.</param>
    /// <param name="unfreeze">What of the decoder is trained, too.</param>
    public static TrainingOptions FittingRecipe(RetroConfig decoder, RetrofitUnfreeze unfreeze)
    {
        TrainingOptions small = TrainingOptions.SmallModel;
        return unfreeze == RetrofitUnfreeze.Nothing || IsSmall(decoder)
            ? small
            : small with
            {
                LearningRate = small.LearningRate / AdditionsRate,
                MuonLearningRate = small.MuonLearningRate / AdditionsRate,
                RetrievalRate = AdditionsRate,
            };
    }
}
