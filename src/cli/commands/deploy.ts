import path from "node:path";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { withProgress } from "../progress.ts";
import type { Verb } from "../verb.ts";

export const deployVerb: Verb = (program, does) => {
  withConnection(program.command("deploy"))
    .description("bundle an application and make it the current version")
    .argument("<app>", "module, or folder with an index.ts")
    .action(
      does<[string], unknown>(async (context, [app]) => {
        const { bundleApplication } = await import("../../application/bundler.ts");
        const bundle = await bundleApplication(path.resolve(context.io.cwd, app));
        for (const warning of bundle.warnings) context.note(`${context.errorStyle.yellow("warning:")} ${warning.trim()}`);
        const client = await context.client();
        const version = await withProgress(
          context.io,
          () => `deploying ${bundle.application}`,
          () => client.deploy(bundle),
        );
        if (context.json) context.printJson(version);
        else context.print(`${version.application} ${version.version}\n`);
        const { functions, coordinators } = version.manifest;
        context.note(context.errorStyle.dim(`  functions: ${names(functions)}\n  coordinators: ${names(coordinators)}`));
        return EXIT.ok;
      }),
    );
};

const names = (specs: { name: string }[]): string => specs.map(({ name }) => name).join(", ") || "none";
