import path from "node:path";
import type { BundledApplication } from "../../application/bundler.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withPlatform } from "../options.ts";
import type { OwnPlatformOptions } from "../own-platform.ts";
import { untilInterrupted, withOwnPlatform } from "../own-platform.ts";
import type { Verb } from "../verb.ts";

export const startVerb: Verb = (program, does) => {
  withPlatform(program.command("start"))
    .description("start a platform and keep it running")
    .option("--drills", "let faults be provoked from this machine (lockstep drill)")
    .option("--app <path...>", "applications to deploy before it is ready", [])
    .action(
      does<[], OwnPlatformOptions & { app: string[] }>(async (context, _args, options) => {
        const applications = options.app.length === 0 ? [] : (await beginToBundle(context, options.app)).bundles;
        await withOwnPlatform(context, { ...options, applications }, context.note, async (_platform, url) => {
          for (const { application, version } of await applications) context.note(`deployed ${application} ${version}`);
          if (context.json) context.printJson({ url });
          else context.print(`${url}\n`);
          await untilInterrupted(context.io.interrupted);
          context.note("stopping");
        });
        return EXIT.ok;
      }),
    );
};

/** Returns once the bundler's process is at work: loading the platform keeps this one from starting it. In a box, or it would be awaited. */
const beginToBundle = async (context: Context, apps: readonly string[]): Promise<{ bundles: Promise<BundledApplication[]> }> => {
  let begun = (): void => undefined;
  const beginning = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const bundles = bundleAll(context, apps, begun);
  await Promise.race([beginning, bundles.catch(() => undefined)]);
  return { bundles };
};

const bundleAll = async (context: Context, apps: readonly string[], onBegun: () => void): Promise<BundledApplication[]> => {
  const { bundleApplication, stopBundler } = await import("../../application/bundler.ts");
  try {
    const bundles = await Promise.all(apps.map((app) => bundleApplication(path.resolve(context.io.cwd, app), { onBegun })));
    for (const { warnings } of bundles) for (const warning of warnings) context.note(`warning: ${warning.trim()}`);
    return bundles;
  } finally {
    await stopBundler();
  }
};
