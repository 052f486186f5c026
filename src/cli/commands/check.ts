import path from "node:path";
import type { Rehearsal } from "../../protocol/control-plane.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { withProgress } from "../progress.ts";
import type { Verb } from "../verb.ts";

export const checkVerb: Verb = (program, does) => {
  withConnection(program.command("check"))
    .description("replay all unfinished runs against an application's new code, without deploying it")
    .argument("<app>", "module, or folder with an index.ts")
    .option("--all", "list the runs that would go on as well")
    .action(
      does<[string], { all?: boolean }>(async (context, [app], { all = false }) => {
        const { bundleApplication } = await import("../../application/bundler.ts");
        const bundle = await bundleApplication(path.resolve(context.io.cwd, app));
        for (const warning of bundle.warnings) context.note(`${context.errorStyle.yellow("warning:")} ${warning.trim()}`);
        const client = await context.client();
        const runs = await withProgress(
          context.io,
          () => `checking ${bundle.application}`,
          () => client.check(bundle),
        );
        const diverging = runs.filter(({ failure }) => failure !== undefined);
        const { application, version } = bundle;
        if (context.json) context.printJson({ application, version, checked: runs.length, diverging: diverging.length, runs });
        else {
          const { red, green } = context.style;
          const shown = all ? runs : diverging;
          if (shown.length > 0) context.printTable(shown, columns(all, red), "");
          const verdict = diverging.length === 0 ? green("all of them go on") : red(`${diverging.length} would diverge`);
          context.print(`${application} ${version}: ${runs.length} unfinished ${runs.length === 1 ? "run" : "runs"}, ${verdict}\n`);
        }
        return diverging.length === 0 ? EXIT.ok : EXIT.failed;
      }),
    );
};

const columns = (all: boolean, red: (text: string) => string) => [
  { title: "RUN", cell: (row: Rehearsal) => row.run },
  { title: "COORDINATOR", cell: (row: Rehearsal) => row.name },
  { title: "VERSION", cell: (row: Rehearsal) => row.version },
  ...(all ? [{ title: "CHECK", cell: (row: Rehearsal) => (row.failure === undefined ? "ok" : "diverges") }] : []),
  {
    title: "WHY",
    cell: ({ failure }: Rehearsal) => (failure === undefined ? "" : `${failure.code}: ${failure.message.replaceAll(/\s+/g, " ")}`),
    paint: red,
  },
];
