import { jsonArgument } from "../arguments.ts";
import type { WorkOptions } from "../execute.ts";
import { execute } from "../execute.ts";
import { withPriority, withWork } from "../options.ts";
import type { Verb } from "../verb.ts";

export const callVerb: Verb = (program, does) => {
  withPriority(withWork(program.command("call")))
    .description("call a function durably and print its result")
    .argument("<function>", "name of the function")
    .argument("[json]", "its input: JSON, @file, or - for standard input")
    .action(
      does<[string, string | undefined], WorkOptions>(async (context, [name, json], options) =>
        execute(context, { kind: "function", name, input: await jsonArgument(json, context.io) }, options),
      ),
    );
};
