using Deque.AxeCore.Commons;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;
using Retro.Cli.Reports;
using Retro.Tests.Cli.Serving;
using Retro.Training;

namespace Retro.Tests.Cli;

/// <summary>Pages in a real browser, on a desk and on a telephone, light and dark, without a mouse and for a screen reader.</summary>
public sealed class PageTests : IAsyncLifetime
{
    private const int Desk = 1280, Telephone = 400;

    /// <summary>Where screenshots go, for whoever wants to look at them; null: nowhere.</summary>
    private static readonly string? s_shots = Environment.GetEnvironmentVariable("RETRO_SCREENSHOTS");

    private readonly List<string> _errors = [];
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    public async ValueTask InitializeAsync()
    {
        string? program = new[] { "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome" }.FirstOrDefault(File.Exists);
        if (program is null)
        {
            NotCompared.Add("pages in a browser");
            return; // each test says so
        }

        Assertions.SetDefaultExpectTimeout(60_000); // by default it is 5 s, which a machine that is busy takes for a page
        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = program, Args = ["--no-sandbox", "--disable-gpu"] });
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.CloseAsync();
        }

        _playwright?.Dispose();
        Assert.Empty(_errors);
    }

    [Theory]
    [InlineData(Desk, ColorScheme.Light)]
    [InlineData(Telephone, ColorScheme.Dark)]
    public async Task The_served_page_answers_with_sources_and_shows_what_each_token_gained(int width, ColorScheme scheme)
    {
        await using ServedModel served = await ServedModel.StartAsync(tokens: 40);
        IPage page = await Open(width, scheme);
        await page.GotoAsync(served.Url);
        await RequireAccessible(page);

        // With the keyboard alone: to the question, and on to the button.
        await page.Keyboard.PressAsync("Tab");
        Assert.Equal("ask", await page.EvaluateAsync<string>("document.activeElement.value"));
        await page.Keyboard.PressAsync("Tab");
        await page.Keyboard.TypeAsync("How many stones has bridge 5?");
        for (int i = 0; i < 4; i++)
        {
            await page.Keyboard.PressAsync("Tab");
        }

        await page.Keyboard.PressAsync("Enter");
        await page.Locator("#inspector .chunk").First.WaitForAsync(new() { Timeout = 120_000 });

        Assert.Matches(@"^\d+ tokens: (as many as were asked for|the text is at its end)\.$", await page.Locator("#status").InnerTextAsync());
        Assert.NotEqual("", (await page.Locator("#answer").InnerTextAsync()).Trim());
        Assert.Contains("in the prompt; docs/bridge", await page.Locator("#sources li").First.InnerTextAsync(), StringComparison.Ordinal);
        Assert.True(await page.Locator("#sources li").CountAsync() > 2);
        Assert.True(await page.Locator("#inspector span[title]").CountAsync() > 20);
        Assert.InRange(await page.EvaluateAsync<int>("document.getElementById('sources').clientHeight"), 1, 600);
        if (width == Telephone)
        {
            // There is no pointer to rest on a token: touched, its hint stands at the end of the screen.
            ILocator token = page.Locator("#inspector span[title]").Nth(5);
            string hint = (await token.GetAttributeAsync("title"))!;
            await token.TapAsync();
            Assert.Equal($"\"{hint}\"", await token.EvaluateAsync<string>("token => getComputedStyle(token, '::after').content"));
        }

        await RequireAccessible(page);
        await Shoot(page, "served", width, scheme);
    }

    [Fact]
    public async Task The_served_page_of_a_model_that_reads_nothing_says_how_its_text_ended()
    {
        await using ServedModel served = await ServedModel.StartAsync(reads: false);
        IPage page = await Open(Desk, ColorScheme.Light);
        await page.GotoAsync(served.Url);
        await page.Locator("#text").FillAsync("The river");
        await page.GetByText("go on with a text").ClickAsync();
        await page.Locator("#go").ClickAsync();
        await Assertions.Expect(page.Locator("#inspector")).ToContainTextAsync("The model reads nothing");
        Assert.Matches(@"^\d+ tokens: .*\.$", await page.Locator("#status").InnerTextAsync());
    }

    [Fact]
    public async Task The_served_page_stops_says_what_is_wrong_and_asks_for_the_key()
    {
        const int Most = 100_000; // tokens take longer than a click
        await using ServedModel served = await ServedModel.StartAsync(
            options => options with { Access = Requests.Keys(("secret", null)), MostTokens = Most }, tokens: Most);
        IPage page = await Open(Desk, ColorScheme.Light);
        await page.GotoAsync(served.Url);
        Assert.False(await page.Locator("#key").IsVisibleAsync());
        await page.Locator("#text").FillAsync("The river");
        await page.GetByText("go on with a text").ClickAsync();
        await page.Locator("#go").ClickAsync();
        await Assertions.Expect(page.Locator("#status")).ToContainTextAsync("Send a key that the server knows");
        await page.Locator("#key").FillAsync("secret");
        await page.Locator("#tokens").FillAsync("999999");
        await page.Locator("#go").ClickAsync();
        await Assertions.Expect(page.Locator("#status")).ToContainTextAsync("max_tokens has to be a whole number from 1 to 100000.");
        await page.Locator("#tokens").FillAsync("100000");
        const string Color = "button => getComputedStyle(button).color";
        string disabled = await page.Locator("#stop").EvaluateAsync<string>(Color);
        await page.Locator("#go").ClickAsync();
        await Assertions.Expect(page.Locator("#answer")).Not.ToBeEmptyAsync();
        Assert.NotEqual(disabled, await page.Locator("#stop").EvaluateAsync<string>(Color)); // one sees which button does something
        await page.Locator("#stop").ClickAsync();
        await Assertions.Expect(page.Locator("#status")).ToHaveTextAsync("Stopped.");
        await Assertions.Expect(page.Locator("#go")).ToBeEnabledAsync();
    }

    [Theory]
    [InlineData(Desk, ColorScheme.Light)]
    [InlineData(Telephone, ColorScheme.Dark)]
    public async Task A_report_can_be_read(int width, ColorScheme scheme)
    {
        await using ServedModel served = await ServedModel.StartAsync();
        RunReport report = new("A report");
        report.Corpus(served.Database, null);
        report.Training("RETRO", [.. Enumerable.Range(1, 50).Select(i => new TrainingProgress(i, i / 50.0, 5 / Math.Sqrt(i), 1, 1e-3, i, 9, default))]);
        report.Page.Table("wide", Enumerable.Range(0, 12).Select(i => $"a long heading {i}"), [Enumerable.Range(0, 12).Select(i => $"{i}.0000 [-1.2, +3.4]")]);
        report.Page.Plots([Plot.Intervals("Against closed book", "%", [new("closed book + pointer rule, k = 8", -5, -8, -2), new("RETRO", -1, -3, 1)])]);
        string file = Path.Combine(Path.GetTempPath(), $"report-{Guid.NewGuid():N}.html");
        report.Write(file);
        try
        {
            IPage page = await Open(width, scheme);
            List<string> asked = [];
            page.Request += (_, request) => asked.Add(request.Url);
            await page.GotoAsync($"file://{file}");
            await RequireAccessible(page);
            Assert.Single(asked);

            // Scrolled to its end, a table still says which row is which, and half of a telephone at least is for the values.
            ILocator name = page.GetByRole(AriaRole.Rowheader, new() { Name = "0.0000 [-1.2, +3.4]" });
            await page.GetByRole(AriaRole.Region, new() { Name = "wide" }).EvaluateAsync("region => region.scrollLeft = 9999");
            LocatorBoundingBoxResult? box = await name.BoundingBoxAsync();
            Assert.InRange(box!.X, 0, 100);
            Assert.InRange(box.Width, 1, Telephone / 2);
            Assert.True(await name.EvaluateAsync<bool>("cell => cell.closest('.wide').scrollLeft > 0"));
            await Shoot(page, "report", width, scheme);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private async Task<IPage> Open(int width, ColorScheme scheme)
    {
        Assert.SkipWhen(_browser is null, "Chromium is not on this machine.");
        IBrowserContext context = await _browser.NewContextAsync(new()
        {
            ViewportSize = new() { Width = width, Height = 900 }, ColorScheme = scheme, IsMobile = width == Telephone, HasTouch = width == Telephone,
        });
        IPage page = await context.NewPageAsync();
        page.PageError += (_, error) => _errors.Add(error);
        return page;
    }

    /// <summary>Nothing serious is in the way of anybody, and nothing but what scrolls by itself is wider than the page.</summary>
    private static async Task RequireAccessible(IPage page)
    {
        AxeResult found = await page.RunAxe();
        Assert.Empty(found.Violations.Where(one => one.Impact is "serious" or "critical")
            .Select(one => $"{one.Id}: {one.Help}; {string.Join(" | ", one.Nodes.Select(node => node.Html).Take(3))}"));
        Assert.True(await page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), "the page is too wide");
    }

    private static async Task Shoot(IPage page, string name, int width, ColorScheme scheme)
    {
        if (s_shots is not null)
        {
            await page.ScreenshotAsync(new() { Path = Path.Combine(s_shots, $"{name}-{width}-{scheme}.png"), FullPage = true });
        }
    }
}
