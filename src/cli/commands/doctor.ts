import path from "node:path";
import type { CheckResult } from "../checks.ts";
import { checkAddress, checkBundler, checkClock, checkDataDirectory, checkNode, checkSocketPath, checkSqlite } from "../checks.ts";
import { DEFAULT_URL } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withJson } from "../options.ts";
import { withProgress } from "../progress.ts";
import type { Style } from "../style.ts";
import type { Verb } from "../verb.ts";

interface Options {
  data: string;
  url?: string;
}

export const doctorVerb: Verb = (program, does) => {
  withJson(program.command("doctor"))
    .description("check whether this machine can run a platform")
    .option("--data <directory>", "data directory to check", ".lockstep")
    .option("--url <url>", "address to check (default: LOCKSTEP_URL, else http://127.0.0.1:4700)")
    .action(
      does<[], Options>(async (context, _args, options) => {
        const { io } = context;
        const url = (options.url ?? io.env.LOCKSTEP_URL ?? DEFAULT_URL).replace(/\/+$/, "");
        const checks = await withProgress(
          io,
          () => "checking",
          () => checkAll(path.resolve(io.cwd, options.data), url, io.fetch),
        );
        if (context.json) context.printJson({ checks });
        else for (const check of checks) context.print(checkText(check, context.style));
        return checks.some(({ status }) => status === "failed") ? EXIT.failed : EXIT.ok;
      }),
    );
};

const checkAll = async (data: string, url: string, fetching: typeof fetch): Promise<CheckResult[]> => [
  checkNode(process.versions.node),
  await checkSqlite(),
  await checkDataDirectory(data),
  await checkAddress(url, fetching),
  await checkBundler(),
  checkSocketPath(),
  await checkClock(),
];

const checkText = ({ name, status, found, mend }: CheckResult, style: Style): string => {
  const paint = { ok: style.green, warning: style.yellow, failed: style.red }[status];
  const line = `${paint(status.padEnd(8))} ${style.bold(name.padEnd(17))} ${found}\n`;
  return mend === undefined ? line : `${line}${" ".repeat(27)}${mend}\n`;
};
