import path from "node:path";
import type { ControlPlane } from "../../protocol/control-plane.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withPlatform } from "../options.ts";
import type { OwnPlatformOptions } from "../own-platform.ts";
import { untilInterrupted, withOwnPlatform } from "../own-platform.ts";
import type { Verb } from "../verb.ts";

export const startVerb: Verb = (program, does) => {
  withPlatform(program.command("start"))
    .description("start a platform and keep it running")
    .option("--app <path...>", "applications to deploy at once", [])
    .action(
      does<[], OwnPlatformOptions & { app: string[] }>(async (context, _args, options) => {
        await withOwnPlatform(context, options, context.note, async ({ controlPlane }, url) => {
          for (const app of options.app) await deploy(context, controlPlane, app);
          if (context.json) context.printJson({ url });
          else context.print(`${url}\n`);
          await untilInterrupted(context.io.interrupted);
          context.note("stopping");
        });
        return EXIT.ok;
      }),
    );
};

const deploy = async (context: Context, controlPlane: ControlPlane, app: string): Promise<void> => {
  const { bundleApplication } = await import("../../application/bundler.ts");
  const bundle = await bundleApplication(path.resolve(context.io.cwd, app));
  for (const warning of bundle.warnings) context.note(`warning: ${warning.trim()}`);
  const { application, version } = await controlPlane.deploy(bundle);
  context.note(`deployed ${application} ${version}`);
};
