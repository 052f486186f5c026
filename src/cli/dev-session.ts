/** One application under development on an embedded platform: deploys it, again after each change, and shows what happens. */
import path from "node:path";
import type { BundledApplication } from "../application/bundler.ts";
import { LockstepError } from "../lib/errors.ts";
import type { ApplicationVersion } from "../protocol/application.ts";
import type { ControlPlane } from "../protocol/control-plane.ts";
import type { PlatformEvent } from "../protocol/events.ts";
import type { Context } from "./context.ts";
import { eventLine } from "./event-line.ts";
import { logLines } from "./log-lines.ts";
import { errorText, reportOf } from "./report.ts";
import type { Watcher } from "./watch.ts";
import { createWatcher } from "./watch.ts";

const AGAIN = "Save a change, and it is deployed again.";
const LOG_PAGE = 500;
const LOGS_EVERY_MS = 200;

/** Deploys at once and at every change, until the command is interrupted. @throws {LockstepError} when the path holds no application at all */
export const develop = async (
  context: Context,
  controlPlane: ControlPlane,
  app: string,
  onDeployed: (version: ApplicationVersion) => void,
): Promise<void> => {
  let failure: unknown;
  let wake: () => void = () => undefined;
  const current: { version?: string } = {};
  let working = Promise.resolve();
  const deploy = (): void => {
    working = working
      .then(() => redeploy(context, controlPlane, app, watcher, current))
      .then((version) => {
        if (version !== undefined) onDeployed(version);
      })
      .catch((error: unknown) => {
        failure = error;
        wake();
      });
  };
  const watcher = createWatcher(context.io.clock, deploy);
  const stopLog = showLog(context, controlPlane);
  deploy();
  await new Promise<void>((resolve) => {
    wake = resolve;
    if (context.io.interrupted.aborted) resolve();
    context.io.interrupted.addEventListener("abort", () => resolve(), { once: true });
  });
  watcher.close();
  await working;
  await stopLog();
  if (failure !== undefined) throw failure;
};

const redeploy = async (
  context: Context,
  controlPlane: ControlPlane,
  app: string,
  watcher: Watcher,
  current: { version?: string },
): Promise<ApplicationVersion | undefined> => {
  const bundle = await bundleAndWatch(context, app, watcher);
  if (bundle === undefined || bundle.version === current.version) return undefined;
  for (const warning of bundle.warnings) context.note(`${context.errorStyle.yellow("warning:")} ${warning.trim()}`);
  try {
    const version = await controlPlane.deploy(bundle);
    current.version = bundle.version;
    return version;
  } catch (error) {
    if (!(error instanceof LockstepError)) throw error;
    complain(context, error, AGAIN);
    return undefined;
  }
};

const bundleAndWatch = async (context: Context, app: string, watcher: Watcher): Promise<BundledApplication | undefined> => {
  const { bundleApplication } = await import("../application/bundler.ts");
  try {
    const bundle = await bundleApplication(path.resolve(context.io.cwd, app));
    watcher.update(bundle.watchFiles);
    return bundle;
  } catch (error) {
    // An application with a mistake in it is waited for; without files there is nothing to wait for.
    const files = error instanceof LockstepError ? error.details?.watchFiles : undefined;
    if (!Array.isArray(files)) throw error;
    watcher.update(files as string[]);
    complain(context, error, AGAIN);
    return undefined;
  }
};

const complain = (context: Context, error: unknown, mend: string): void => {
  const { code, message } = reportOf(error);
  context.io.stderr.write(errorText({ code, message, mend }, context.errorStyle));
};

/** Prints events as they come and, between them, what the application's code logs. Returns what ends it. */
const showLog = (context: Context, controlPlane: ControlPlane): (() => Promise<void>) => {
  const { clock } = context.io;
  let after = 0;
  let reading = controlPlane.logs({ after: "latest", limit: 1 }).then(({ next }) => {
    after = next;
  });
  let stopTimer: (() => void) | undefined;
  const live = new Set<string>();

  const readLogs = async (): Promise<void> => {
    for (;;) {
      const { logs, next } = await controlPlane.logs({ limit: LOG_PAGE, after });
      after = next;
      if (context.json) for (const log of logs) context.printJson({ type: "log", ...log });
      else context.print(logLines(logs, context.style));
      if (logs.length < LOG_PAGE) return;
    }
  };
  const refresh = (events: readonly PlatformEvent[]): void => {
    reading = reading
      .then(async () => {
        await readLogs();
        for (const event of events) showEvent(context, event);
      })
      .catch((error: unknown) => complain(context, error, "Restart the command if this goes on."));
  };
  // Logs make no events, so while runs are under way they are looked for.
  const arm = (): void => {
    if (stopTimer !== undefined || live.size === 0) return;
    stopTimer = clock.after(LOGS_EVERY_MS, () => {
      stopTimer = undefined;
      refresh([]);
      arm();
    });
  };
  const unsubscribe = controlPlane.onEvents((events) => {
    for (const event of events) follow(event, live);
    refresh(events);
    arm();
  });
  return async () => {
    unsubscribe();
    stopTimer?.();
    await reading;
  };
};

/** Keeps `live` at the runs whose code may be executing. */
const follow = (event: PlatformEvent, live: Set<string>): void => {
  if (event.type === "run.accepted" || event.type === "run.resumed" || event.type === "call.retrying") live.add(event.run);
  if (event.type === "run.finished" || event.type === "run.suspended") live.delete(event.run);
};

const showEvent = (context: Context, event: PlatformEvent): void => {
  const line = context.json ? `${JSON.stringify(event)}\n` : eventLine(event, context.style);
  if (line !== undefined) context.print(line);
};
