import { jsonArgument } from "../arguments.ts";
import { writeCertificate } from "../certificate-file.ts";
import type { WorkOptions } from "../execute.ts";
import { execute } from "../execute.ts";
import { withPriority, withWork } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import type { Verb } from "../verb.ts";

interface Options extends WorkOptions {
  certificate?: string;
}

export const callVerb: Verb = (program, does) => {
  withPriority(withWork(program.command("call")))
    .description("call a function durably and print its result")
    .argument("<function>", "name of the function")
    .argument("[json]", "its input: JSON, @file, or - for standard input")
    .option("--certificate <file>", "write the certificate of its result, or of its failure, to this file, for `lockstep verify`")
    .action(
      does<[string, string | undefined], Options>(async (context, [name, json], { certificate: file, ...options }) => {
        if (file !== undefined && options.app !== undefined) {
          throw new UsageError("--certificate and --app exclude each other", "The key of a private platform ends with this command.");
        }
        const input = await jsonArgument(json, context.io);
        return await execute(context, { kind: "function", name, input }, options, async (id) => {
          if (file !== undefined) await writeCertificate(context, id, await (await context.client()).run(id).certificates(), file);
        });
      }),
    );
};
