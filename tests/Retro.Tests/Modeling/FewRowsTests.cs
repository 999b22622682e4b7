using Retro.Modeling;
using TorchSharp;
using static TorchSharp.torch;

namespace Retro.Tests.Modeling;

/// <summary>Branches that compute few rows with plain numbers beside the same branches with tensors, which a hook makes them take.</summary>
public sealed class FewRowsTests
{
    public static IEnumerable<TheoryDataRow<string>> Names => ModelCase.Names;

    /// <summary>Rows of unequal prompts, chunks without neighbors, masks: as near to the same weights in float64 as tensors come.</summary>
    [Theory]
    [MemberData(nameof(Names))]
    public void Decoding_is_as_near_to_float64_as_with_tensors(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        foreach (ScalarType type in new[] { ScalarType.Float32, ScalarType.BFloat16 })
        {
            using RetroModel model = ModelCase.Model(config, dtype: type), exact = ModelCase.Model(config);
            exact.load_state_dict(model.state_dict().ToDictionary(entry => entry.Key, entry => entry.Value.to_type(ScalarType.Float64)));
            manual_seed(5);
            int[] prompts = [2, config.Retrieval!.ChunkLength + 1, 1];
            int length = prompts.Max() + (2 * config.Retrieval!.ChunkLength) + 1;
            Tensor tokens = ModelCase.Tokens(config, prompts.Length, length);
            (Tensor neighbors, Tensor valid) = ModelCase.Neighbors(config, prompts.Length, length, 2);
            Tensor few = Decoded(model), right = Decoded(exact);
            Hook(model);
            Tensor tensors = Decoded(model);
            Assert.Equal(type, few.dtype);
            Assert.False(ModelCase.BitEqual(few, tensors)); // two ways, then
            Assert.InRange(Off(few), 0, (1.5 * Off(tensors)) + 1e-7);

            double Off(Tensor logits) => (logits.to_type(ScalarType.Float64) - right).square().mean().sqrt().item<double>();

            Tensor Decoded(RetroModel decoding)
            {
                using DecodingCache cache = decoding.NewCache(prompts.Length, capacity: 2);
                List<Tensor> logits = [decoding.Prefill(cache, tokens.narrow(1, 0, prompts.Max()), prompts)];
                while (cache.Lengths.Max() < length)
                {
                    Tensor places = tensor(cache.Lengths.ToArray()).view(-1, 1);
                    Tensor chunk = ((places + 1).div(config.Retrieval!.ChunkLength, RoundingMode.floor) - 1).clamp(0, neighbors.shape[1] - 1).view(-1, 1, 1, 1)
                        .expand(-1, 1, 2, neighbors.shape[3]);
                    logits.Add(decoding.Step(
                        cache, tokens.gather(1, places).view(-1), neighbors.gather(1, chunk).squeeze(1), valid.gather(1, chunk).squeeze(1)));
                }

                return stack(logits);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_row_gives_the_same_bits_whatever_others_there_are(string name)
    {
        RetroConfig config = ModelCase.Config(name);
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using RetroModel model = ModelCase.Model(config, dtype: ScalarType.Float32);

        // Up to the first neighbors, as the encoder reads those of all rows at once.
        int steps = Math.Max(1, config.Retrieval!.ChunkLength - 1);
        Tensor tokens = ModelCase.Tokens(config, 3, steps), together = Decoded(0, 3);
        for (int row = 0; row < 3; row++)
        {
            Assert.True(ModelCase.BitEqual(together.narrow(1, row, 1), Decoded(row, 1)));
        }

        Tensor Decoded(int row, int count)
        {
            using DecodingCache cache = model.NewCache(count);
            return stack([.. Enumerable.Range(0, steps).Select(t => model.Step(cache, tokens.narrow(0, row, count).select(1, t)))]);
        }
    }

    [Fact]
    public void Hooks_of_what_is_inside_a_branch_see_every_token()
    {
        using DisposeScope scope = NewDisposeScope();
        using IDisposable noGradients = no_grad();
        using RetroModel model = ModelCase.Model(ModelCase.Config("llama"), dtype: ScalarType.Float32);
        int calls = 0, hooked = 0;
        foreach (nn.Module module in model.Layers.SelectMany(layer => layer.modules()))
        {
            if (module is nn.Module<Tensor, Tensor> one and (LinearLayer or Normalization))
            {
                one.register_forward_pre_hook((_, x) =>
                {
                    calls++;
                    return x;
                });
                hooked += one.parameters().Any() ? 1 : 0;
            }
        }

        using DecodingCache cache = model.NewCache(1);
        model.Step(cache, tensor(new[] { 3L }));

        // Of each layer's cross-attention nothing runs before the first neighbor.
        int ofCross = model.Layers.Sum(layer => layer.CrossAttention?.modules().Count(module => module is LinearLayer or Normalization) ?? 0);
        Assert.Equal(hooked - ofCross, calls);
        Assert.True(calls > 0);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(32)]
    [InlineData(100)]
    public void Numbers_of_bfloat16_are_read_written_and_arranged_whatever_their_count(int count)
    {
        using DisposeScope scope = NewDisposeScope();
        manual_seed(count);
        Tensor numbers = randn(count) * 100;
        numbers[0] = float.NaN;
        Tensor stored = numbers.to_type(ScalarType.BFloat16);
        ushort[] row = new ushort[count], right = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ushort>(stored.bytes).ToArray();
        BFloat16Format.Write(numbers.data<float>().ToArray(), row);
        Assert.True(float.IsNaN(BFloat16Format.Read(row[0])));
        Assert.Equal(right[1..], row[1..]);
        float[] read = new float[count], arranged = new float[count];
        BFloat16Format.Read(row, read);
        Assert.Equal(stored.to_type(ScalarType.Float32).data<float>().ToArray(), read);
        StoredRows<ushort, BFloat16Format>.Arrange(read, 2, arranged);
        for (int i = 0; i < count; i++)
        {
            int place = i < count / 32 * 32 ? (i / 32 * 32) + BFloat16Format.Place(i % 32) : i;
            Assert.Equal(2 * read[i], arranged[place]);
        }

        StoredRows<ushort, BFloat16Format>.Restore(arranged);
        Assert.Equal(read.Select(number => 2 * number), arranged);
    }

    private static void Hook(nn.Module model)
    {
        foreach (nn.Module module in model.modules())
        {
            if (module is nn.Module<Tensor, Tensor> one and (LinearLayer or Normalization))
            {
                one.register_forward_hook((_, _, y) => y);
            }
        }
    }
}
