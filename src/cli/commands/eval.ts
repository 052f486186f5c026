import { variables } from "../arguments.ts";
import type { WorkOptions } from "../execute.ts";
import { execute } from "../execute.ts";
import { withWork } from "../options.ts";
import type { Verb } from "../verb.ts";

const collect = (value: string, before: string[] = []): string[] => [...before, value];

export const evalVerb: Verb = (program, does) => {
  withWork(program.command("eval"))
    .description("evaluate an expression")
    .argument("<expression>", "such as '((3+5)*(4/2))'")
    .option("--var <name=value>", "value of a variable, as JSON or text; may be repeated", collect)
    // An expression may begin with a minus, which is no option then.
    .allowUnknownOption()
    .action(
      does<[string], WorkOptions & { var?: string[] }>((context, [expression], options) =>
        execute(context, { kind: "expression", name: expression, input: variables(options.var ?? []) }, options),
      ),
    );
};
