return await Retro.Cli.Tool.RunAsync(args).ConfigureAwait(false);
