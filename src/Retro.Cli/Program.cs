Retro.Cli.PipedOutput.Install();
return await Retro.Cli.Tool.RunAsync(args).ConfigureAwait(false);
