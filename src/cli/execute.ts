/** What `eval`, `call` and `run` have in common: start, wait with progress, and tell how it ended. */
import type { RunOutcome } from "../client/index.ts";
import { durationOption, integerOption } from "./arguments.ts";
import type { Context } from "./context.ts";
import type { ExitCode } from "./exit-codes.ts";
import { EXIT } from "./exit-codes.ts";
import { logLines } from "./log-lines.ts";
import { withProgress } from "./progress.ts";
import { errorText, failureText, Interrupted, mendOf } from "./report.ts";
import type { Target, Work } from "./target.ts";
import { privateTarget, remoteTarget } from "./target.ts";
import { oneLine, valueText } from "./text.ts";
import { UsageError } from "./usage-error.ts";

export interface WorkOptions {
  app?: string;
  url?: string;
  key?: string;
  priority?: string;
  timeout?: string;
  detach?: boolean;
}

/** @param ended what is to be done once the run's end is printed */
export const execute = async (
  context: Context,
  what: Pick<Work, "kind" | "name" | "input">,
  options: WorkOptions,
  ended?: (id: string) => Promise<void>,
): Promise<ExitCode> => {
  const timeoutMs = durationOption("timeout", options.timeout);
  const priority = integerOption("priority", options.priority, -1_000_000, 1_000_000);
  const work: Work = {
    ...what,
    ...(options.key === undefined ? {} : { key: options.key }),
    ...(priority === undefined ? {} : { priority }),
  };
  const target = await targetOf(context, options);
  try {
    const { id, existing } = await target.start(work);
    if (existing) context.note(context.errorStyle.dim(`${id} was started before with this key`));
    if (options.detach) return detached(context, id, existing);
    const outcome = await waitFor(context, target, id, work, timeoutMs);
    if (target.private) showLogs(context, await target.logs(id));
    const code = tell(context, outcome, work, target);
    await ended?.(id);
    return code;
  } finally {
    await target.close();
  }
};

const targetOf = async (context: Context, { app, url, detach }: WorkOptions): Promise<Target> => {
  if (app === undefined) return remoteTarget(await context.client());
  if (url !== undefined) throw new UsageError("--app and --url exclude each other: the former starts a platform of its own");
  if (detach) throw new UsageError("--app and --detach exclude each other: the private platform ends with this command");
  return await withProgress(
    context.io,
    () => `starting a private platform for ${app}`,
    () => privateTarget(context, app),
  );
};

const detached = (context: Context, id: string, existing: boolean): ExitCode => {
  if (context.json) context.printJson({ id, existing });
  else context.print(`${id}\n`);
  return EXIT.ok;
};

const waitFor = async (context: Context, target: Target, id: string, work: Work, timeoutMs: number | undefined): Promise<RunOutcome> => {
  const signal = context.io.interrupted;
  const limit = timeoutMs === undefined ? {} : { timeoutMs };
  try {
    return await withProgress(
      context.io,
      () => `${oneLine(work.name)} (${id})`,
      () => target.outcome(id, { ...limit, signal }),
    );
  } catch (error) {
    if (!signal.aborted) throw error;
    context.note(
      target.private ? `${id} was given up` : `${id} goes on: see \`lockstep runs show ${id}\`, or \`lockstep runs cancel ${id}\``,
    );
    throw new Interrupted(`waiting for ${id} was interrupted`);
  }
};

const showLogs = (context: Context, logs: Parameters<typeof logLines>[0]): void => {
  const text = logLines(logs, context.errorStyle);
  if (text !== "") context.io.stderr.write(text);
};

/** The value to standard output; a failure to standard error. */
const tell = (context: Context, outcome: RunOutcome, work: Work, target: Target): ExitCode => {
  const { id, status, value, failure } = outcome;
  if (context.json) context.printJson(outcome);
  if (status === "completed") {
    if (!context.json && value !== undefined) context.print(`${valueText(value)}\n`);
    return EXIT.ok;
  }
  const { code, message, details } = failure ?? { code: "INTERNAL", message: `${id} is ${status}` };
  const shown = { code, message, details, ...mendOf(code) };
  context.io.stderr.write(errorText(shown, context.errorStyle, work.kind === "expression" ? work.name : undefined));
  if (failure !== undefined) context.io.stderr.write(failureText(failure, context.errorStyle));
  const end = ending(status, id, target);
  if (end !== undefined) context.note(`  ${end}`);
  return EXIT.failed;
};

const ending = (status: string, id: string, target: Target): string | undefined => {
  const suspended = status === "suspended";
  if (target.private) return suspended ? "on a platform that stays, the run would now wait for an operator" : undefined;
  return suspended
    ? `${id} is suspended: \`lockstep runs show ${id}\` tells what to decide`
    : `${id} ${status}: \`lockstep runs show ${id}\``;
};
