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

if (args is [_, "left" or "left-nccl"])
{
    Scenarios.LeaveAsync(nccl: args[1] == "left-nccl").GetAwaiter().GetResult();
    return 0;
}

bool isTogether = Environment.GetEnvironmentVariable("OMPI_COMM_WORLD_SIZE") is not null;

// What mpirun says in variables, other launchers do not.
string[] said = [.. Environment.GetEnvironmentVariables().Keys.Cast<string>().Where(name => name.StartsWith("OMPI_COMM_", StringComparison.Ordinal))];
Array.ForEach(said, name => Environment.SetEnvironmentVariable(name, null));

using MpiExchange? mpi = isTogether ? MpiExchange.Start() : null;
Scenarios scenarios = new(args[0], mpi);
foreach (string scenario in args[1..])
{
    string[] parts = scenario.Split('=', 2);
    scenarios.Run(parts[0], parts.Length > 1 ? parts[1] : "");
}

return 0;
