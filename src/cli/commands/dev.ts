import type { ApplicationVersion } from "../../protocol/application.ts";
import { develop } from "../dev-session.ts";
import { exampleRequest } from "../example.ts";
import { EXIT } from "../exit-codes.ts";
import { withPlatform } from "../options.ts";
import type { OwnPlatformOptions } from "../own-platform.ts";
import { withOwnPlatform } from "../own-platform.ts";
import type { Verb } from "../verb.ts";

export const devVerb: Verb = (program, does) => {
  withPlatform(program.command("dev"))
    .description("start a platform here, deploy an application, and again after each change")
    .argument("<app>", "module, or folder with an index.ts")
    .action(
      does<[string], OwnPlatformOptions>(async (context, [app], options) => {
        const { style, errorStyle } = context;
        const needsKey = (await context.apiKey()) !== undefined;
        const log = (line: string): void => context.note(errorStyle.dim(line));
        await withOwnPlatform(context, { ...options, drills: true, restarts: true }, log, async ({ controlPlane }, url) => {
          context.note(`${errorStyle.bold("lockstep")} at ${errorStyle.cyan(url)}, data in ${options.data}; stop it with Ctrl-C`);
          let first = true;
          const onDeployed = (version: ApplicationVersion): void => {
            const { functions, coordinators } = version.manifest;
            const defined = [...functions, ...coordinators].map(({ name }) => name).join(", ");
            const head = `${style.green("deployed")} ${style.bold(version.application)} ${style.dim(version.version)}`;
            if (!context.json) context.print(`${head}: ${defined}\n`);
            const example = first ? exampleRequest(url, version, needsKey) : undefined;
            if (example !== undefined) context.note(`try it:\n  ${example}`);
            first = false;
          };
          await develop(context, controlPlane, app, onDeployed);
        });
        return EXIT.ok;
      }),
    );
};
