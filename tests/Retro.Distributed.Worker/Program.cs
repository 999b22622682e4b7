using Retro.Distributed;
using Retro.Distributed.Worker;
using TorchSharp;

// What the tests run by mpirun, and alone: Retro.Distributed.Worker FOLDER SCENARIO[=VALUE]...
torch.set_num_threads(1);
torch.set_num_interop_threads(1);
if (args is [_, "readme"])
{
    Scenarios.Readme(args[0]);
    return 0;
}

// Four are taken for processes of as many machines, and two for those of one, which sum gradients at other times.
if (Environment.GetEnvironmentVariable("OMPI_COMM_WORLD_SIZE") == "4")
{
    Environment.SetEnvironmentVariable("OMPI_COMM_WORLD_LOCAL_SIZE", "1");
}

using MpiExchange? exchange = Environment.GetEnvironmentVariable("OMPI_COMM_WORLD_SIZE") is null ? null : MpiExchange.Start();
Scenarios scenarios = new(args[0], exchange);
foreach (string scenario in args[1..])
{
    string[] parts = scenario.Split('=', 2);
    scenarios.Run(parts[0], parts.Length > 1 ? parts[1] : "");
}

return 0;
