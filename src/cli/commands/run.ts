import { jsonArgument } from "../arguments.ts";
import type { WorkOptions } from "../execute.ts";
import { execute } from "../execute.ts";
import { withPriority, withWork } from "../options.ts";
import type { Verb } from "../verb.ts";

export const runVerb: Verb = (program, does) => {
  withPriority(withWork(program.command("run")))
    .description("run a coordinator and print its result")
    .argument("<coordinator>", "name of the coordinator")
    .argument("[json]", "its input: JSON, @file, or - for standard input")
    .option("--detach", "print the run's id and don't wait for it")
    .action(
      does<[string, string | undefined], WorkOptions>(async (context, [name, json], options) =>
        execute(context, { kind: "coordinator", name, input: await jsonArgument(json, context.io) }, options),
      ),
    );
};
