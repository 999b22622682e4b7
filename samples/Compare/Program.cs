// Every reader of what is retrieved, and every retriever, side by side, is a verb of the tool: src/Retro.Cli/Workflow/CompareRun.cs.
return await Retro.Cli.Tool.RunAsync(["compare", .. args]).ConfigureAwait(false);
