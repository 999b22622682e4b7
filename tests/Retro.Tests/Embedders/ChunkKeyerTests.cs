using Microsoft.Extensions.AI;
using Retro.Embedders;
using Retro.Tokenizers;

namespace Retro.Tests.Embedders;

public class ChunkKeyerTests
{
    private static readonly RetroTokenizer s_tokenizer = EmbeddingInputs.Tokenizer;

    [Fact]
    public async Task P26_the_same_tokens_have_the_same_key_but_for_rounding_when_building_precomputing_and_generating()
    {
        using TextEmbedder embedder = new(new TextEncoder(EmbeddingInputs.Tiny), s_tokenizer);
        ChunkKeyer keyer = new(s_tokenizer, embedder);
        Random random = new(2);
        int[] text = s_tokenizer.Encode(string.Join(' ', EmbeddingInputs.Texts));
        ReadOnlyMemory<int>[] chunks = Enumerable.Range(0, 60).Select(_ => (ReadOnlyMemory<int>)text.AsMemory(random.Next(text.Length - 16), 16)).ToArray();

        float[] built = new float[chunks.Length * keyer.Dimensions]; // all at once, as a database is built
        keyer.Keys(chunks, built);
        for (int i = 0; i < chunks.Length; i++)
        {
            float[] alone = new float[keyer.Dimensions]; // one at a time, on another thread, as in generation
            int[] copy = chunks[i].ToArray();
            await Task.Run(() => keyer.Keys([copy], alone), TestContext.Current.CancellationToken);
            EmbeddingInputs.AssertNear([built[(i * keyer.Dimensions)..((i + 1) * keyer.Dimensions)]], [alone]);
            Assert.Equal(alone, keyer.KeyOfText(s_tokenizer.Decode(copy))); // the same batch: the same bits
        }
    }

    [Fact]
    public void Padding_does_not_count()
    {
        ChunkKeyer keyer = new(s_tokenizer, new HashingEmbedder(16));
        int[] tokens = s_tokenizer.Encode("Green tea");
        float[] keys = new float[2 * 16];

        keyer.Keys([tokens, new[] { s_tokenizer.EndOfText }.Concat(tokens).Concat(Enumerable.Repeat(s_tokenizer.EndOfText, 5)).ToArray()], keys);

        Assert.Equal(keys[..16], keys[16..]);
        Assert.Equal(keys[..16], keyer.KeyOfText("Green tea"));
    }

    [Fact]
    public void A_text_of_punctuation_or_of_nothing_has_no_key()
    {
        ChunkKeyer keyer = new(s_tokenizer, new Foreign("m", 3));
        foreach (string nothing in new[] { "", " \n", "...", "-----", "{ } ( );", "=== + ===", "\u0301" })
        {
            Assert.Equal(new float[3], keyer.KeyOfText(nothing));
        }

        foreach (string something in new[] { "a", "...7...", "\u4e2d", "\U0001F600", "\u00bd" })
        {
            Assert.NotEqual(new float[3], keyer.KeyOfText(something));
        }

        // Beside texts that say something, too: each key stays with its chunk.
        int[][] chunks = [[], s_tokenizer.Encode("Green tea"), s_tokenizer.Encode("...")];
        float[] keys = new float[9];
        keyer.Keys([.. chunks.Select(chunk => (ReadOnlyMemory<int>)chunk)], keys);
        Assert.Equal([0, 0, 0, .. keyer.KeyOfText("Green tea"), 0, 0, 0], keys);
    }

    [Fact]
    public void The_identity_depends_on_the_embedder()
    {
        Assert.Equal(new ChunkKeyer(s_tokenizer, new HashingEmbedder(16)).Identity, new ChunkKeyer(s_tokenizer, new HashingEmbedder(16)).Identity);
        Assert.NotEqual(new ChunkKeyer(s_tokenizer, new HashingEmbedder(16)).Identity, new ChunkKeyer(s_tokenizer, new HashingEmbedder(17)).Identity);
        Assert.NotEqual(new ChunkKeyer(s_tokenizer, new Foreign("a", 3)).Identity, new ChunkKeyer(s_tokenizer, new Foreign("b", 3)).Identity);
        Assert.NotEqual(new ChunkKeyer(s_tokenizer, new Foreign("a", 3)).Identity, new ChunkKeyer(s_tokenizer, new Foreign("a", 3), normalize: true).Identity);
    }

    /// <summary>Whoever made keys before they could be normalized has them still.</summary>
    [Fact]
    public void The_identity_of_keys_as_they_are_is_the_one_of_before()
    {
        string embedder = IdentityHash.Of(IdentityHash.KeyEnd, "test", "", "a", "3");
        string expected = IdentityHash.Of(IdentityHash.KeyEnd, s_tokenizer.BringsSpaces ? "chunk key 3" : "chunk key 2", s_tokenizer.FilesHash, embedder);
        Assert.Equal(expected, new ChunkKeyer(s_tokenizer, new Foreign("a", 3)).Identity);
    }

    /// <summary>By cosine: a key of any length is as near as its direction says.</summary>
    [Fact]
    public void Keys_are_of_length_1_where_that_is_asked_for()
    {
        ChunkKeyer keyer = new(s_tokenizer, new Foreign("m", 3), normalize: true);
        float[] key = keyer.KeyOfText("Green tea"); // 9, 1, 2
        double length = Math.Sqrt(86);
        Assert.Equal([9 / length, 1 / length, 2 / length], key.Select(value => (double)value), (one, other) => Math.Abs(one - other) < 1e-7);
        float[] keys = new float[9];
        keyer.Keys([s_tokenizer.Encode("..."), s_tokenizer.Encode("Green tea"), s_tokenizer.Encode("x")], keys);
        Assert.Equal(new float[3], keys[..3]);
        Assert.Equal(key, keys[3..6]);
        Assert.Equal(1, Math.Sqrt(keys[6..].Sum(value => (double)value * value)), 1e-6);

        // Squares that single precision does not hold; and what has no direction stays without.
        float[] large = new ChunkKeyer(s_tokenizer, new Foreign("m", 3, first: 1e30f), normalize: true).KeyOfText("x");
        Assert.Equal([1, 0, 0], large, (one, other) => Math.Abs(one - other) < 1e-7);
        Assert.Equal([0], new ChunkKeyer(s_tokenizer, new Foreign("m", 1, length: 1, first: 0), normalize: true).KeyOfText("x"));
        float[] own = new ChunkKeyer(s_tokenizer, new HashingEmbedder(16)).KeyOfText("Green tea and coffee");
        float[] scaled = new ChunkKeyer(s_tokenizer, new HashingEmbedder(16), normalize: true).KeyOfText("Green tea and coffee");
        Assert.Equal(own, scaled, (one, other) => Math.Abs(one - other) < 1e-6); // it makes vectors of length 1 by itself
    }

    [Fact]
    public void Any_embedding_generator_will_do_if_it_names_its_model()
    {
        ChunkKeyer keyer = new(s_tokenizer, new Foreign("model", 3));

        Assert.Equal(3, keyer.Dimensions);
        Assert.Equal([9, 1, 2], keyer.KeyOfText("Green tea"));
        Assert.Equal(2, new ChunkKeyer(s_tokenizer, new Foreign("unsized", null, length: 2)).Dimensions);
        Assert.Contains(
            "does not name its model",
            Assert.Throws<ArgumentException>(() => new ChunkKeyer(s_tokenizer, new Foreign(null, 3))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void An_embedder_in_middleware_has_the_identity_of_the_embedder_and_is_called_through_the_middleware()
    {
        HashingEmbedder embedder = new(16);
        Counting wrapped = new(embedder);
        ChunkKeyer plain = new(s_tokenizer, embedder), through = new(s_tokenizer, wrapped);

        Assert.Equal(plain.Identity, through.Identity);
        Assert.Equal(plain.KeyOfText("Green tea"), through.KeyOfText("Green tea"));
        Assert.Equal(1, wrapped.Calls);
    }

    [Fact]
    public void A_wrapped_embedder_whose_metadata_name_another_model_is_another()
    {
        HashingEmbedder embedder = new(16);
        ChunkKeyer plain = new(s_tokenizer, embedder), prefixed = new(s_tokenizer, new Prefixing(embedder));
        Assert.NotEqual(plain.Identity, prefixed.Identity);
        Assert.Equal(plain.KeyOfText("passage: Green tea"), prefixed.KeyOfText("Green tea"));
        Assert.Equal(16, prefixed.Dimensions);
    }

    [Fact]
    public void A_foreign_embedder_gets_no_more_texts_at_once_than_it_takes()
    {
        Counting few = new(new Foreign("m", 3)), own = new(new HashingEmbedder(16));
        ReadOnlyMemory<int>[] chunks = [.. Enumerable.Range(0, 200).Select(i => (ReadOnlyMemory<int>)s_tokenizer.Encode(new string('x', i + 1)))];
        float[] keys = new float[chunks.Length * 3];
        new ChunkKeyer(s_tokenizer, few, batchSize: 7).Keys(chunks, keys);
        Assert.Equal(Enumerable.Range(1, 200), keys.Chunk(3).Select(key => (int)key[0]));
        Assert.Equal((29, 7), (few.Calls, few.Most));
        new ChunkKeyer(s_tokenizer, few).Keys(chunks, keys);
        Assert.Equal((32, 96), (few.Calls, few.Most));
        new ChunkKeyer(s_tokenizer, own, batchSize: 7).Keys(chunks, new float[chunks.Length * 16]); // texts of equal length are found among many
        Assert.Equal(1, own.Calls);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ChunkKeyer(s_tokenizer, few, batchSize: 0));
    }

    [Fact]
    public void What_is_no_key_is_refused()
    {
        Assert.Contains(
            "gave 2 numbers where its metadata say 3",
            Assert.Throws<RetroException>(() => new ChunkKeyer(s_tokenizer, new Foreign("m", 3, length: 2)).KeyOfText("x")).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "not finite",
            Assert.Throws<RetroException>(() => new ChunkKeyer(s_tokenizer, new Foreign("m", 3, first: float.NaN)).KeyOfText("x")).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "gave 0 vectors for 1 text;",
            Assert.Throws<RetroException>(() => new ChunkKeyer(s_tokenizer, new Foreign("m", 3, drop: true)).KeyOfText("x")).Message,
            StringComparison.Ordinal);
        foreach (GeneratedEmbeddings<Embedding<float>>? nothing in new[] { null, new GeneratedEmbeddings<Embedding<float>>([null!]) })
        {
            Assert.Contains(
                "gave 0 vectors for 1 text;",
                Assert.Throws<RetroException>(() => new ChunkKeyer(s_tokenizer, new Empty(nothing!)).KeyOfText("x")).Message,
                StringComparison.Ordinal);
        }

        Assert.Throws<ArgumentException>(() => new ChunkKeyer(s_tokenizer, new HashingEmbedder(4)).Keys([new[] { 1 }], new float[5]));
    }

    private sealed class Empty(GeneratedEmbeddings<Embedding<float>> given) : DelegatingEmbeddingGenerator<string, Embedding<float>>(new Foreign("m", 3))
    {
        public override Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
            => Task.FromResult(given);
    }

    private sealed class Counting(IEmbeddingGenerator<string, Embedding<float>> inner) : DelegatingEmbeddingGenerator<string, Embedding<float>>(inner)
    {
        public int Calls { get; private set; }

        public int Most { get; private set; }

        public override Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
        {
            Calls++;
            Most = Math.Max(Most, values.Count());
            return base.GenerateAsync(values, options, cancellationToken);
        }
    }

    /// <summary>Another function than the one inside, and named as such.</summary>
    private sealed class Prefixing(IEmbeddingGenerator<string, Embedding<float>> inner) : DelegatingEmbeddingGenerator<string, Embedding<float>>(inner)
    {
        public override Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
            => base.GenerateAsync(values.Select(text => $"passage: {text}"), options, cancellationToken);

        public override object? GetService(Type serviceType, object? serviceKey = null)
            => serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata("test", null, "behind a prefix")
                : base.GetService(serviceType, serviceKey);
    }

    /// <summary>Somebody else's embedder: text length, 1, 2, ...</summary>
    private sealed class Foreign(
        string? model, int? dimensions, int length = 3, float? first = null, bool drop = false) : IEmbeddingGenerator<string, Embedding<float>>
    {
        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(
            IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default)
            => Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Where(_ => !drop)
                .Select(text => new Embedding<float>(Enumerable.Range(0, length).Select(i => i == 0 ? first ?? text.Length : i).ToArray()))));

        public object? GetService(Type serviceType, object? serviceKey = null)
            => serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata("test", null, model, dimensions) : null;

        public void Dispose()
        {
        }
    }
}
