// The whole way, from a folder of text to text with sources, is a verb of the tool: src/Retro.Cli/Quickstart.
return await Retro.Cli.Tool.RunAsync(["quickstart", .. args]).ConfigureAwait(false);
