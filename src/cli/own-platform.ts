/** What `dev` and `start` have in common: a platform with a gateway that lives until the command is interrupted. */
import path from "node:path";
import type { Platform, PlatformOptions } from "../platform.ts";
import { integerOption } from "./arguments.ts";
import type { Context } from "./context.ts";
import { Interrupted } from "./report.ts";
import { UsageError } from "./usage-error.ts";

export interface OwnPlatformOptions {
  data: string;
  host: string;
  port: string;
  /** Whether faults may be provoked. */
  drills?: boolean;
  /** Whether it begins anew by itself after the drill that kills it. */
  restarts?: boolean;
  /** Deployed before the platform is ready. */
  applications?: PlatformOptions["applications"];
}

/** Starts it, does `work`, and stops it whatever happens. Fails when the journal can't be written any more. */
export const withOwnPlatform = async (
  context: Context,
  options: OwnPlatformOptions,
  log: (line: string) => void,
  work: (platform: Platform, url: string) => Promise<void>,
): Promise<void> => {
  const { io } = context;
  const port = integerOption("port", options.port, 0, 65_535) as number;
  const apiKey = await context.apiKey();
  let failed: (error: unknown) => void = () => undefined;
  const fatal = new Promise<never>((_resolve, reject) => {
    failed = reject;
  });
  // It may fail while it still starts, before anything awaits this.
  fatal.catch(() => undefined);
  let url = "";
  const { restart: beginAnew } = io;
  // On the port that it has: whoever asked for any free one is to find it again. A drill may come before the start has told it.
  const more = (): string[] => (url === "" ? [] : ["--port", new URL(url).port]);
  const restart = options.restarts === true && beginAnew !== undefined ? () => beginAnew(more()) : undefined;
  const platform = await io.startPlatform({
    dataDirectory: path.resolve(io.cwd, options.data),
    gateway: { host: options.host, port, ...(apiKey === undefined ? {} : { apiKey }) },
    log,
    onFatal: failed,
    ...objectsOf(io.env),
    drills: options.drills === true && (restart === undefined ? true : { restart }),
    ...(options.applications === undefined ? {} : { applications: options.applications }),
  });
  url = platform.url ?? "";
  try {
    await Promise.race([work(platform, url), fatal]);
  } finally {
    await platform.stop();
  }
};

/**
 * Where objects are kept: in files, or with LOCKSTEP_OBJECTS=s3 in S3.
 * @throws {UsageError}
 */
export const objectsOf = (env: Context["io"]["env"]): Pick<PlatformOptions, "objects"> => {
  const { LOCKSTEP_OBJECTS: kind = "", LOCKSTEP_S3_ENDPOINT: endpoint, LOCKSTEP_S3_REGION: region } = env;
  if (kind === "" || kind === "files") return {};
  if (kind !== "s3") throw new UsageError(`LOCKSTEP_OBJECTS "${kind}" is neither files nor s3`);
  const { LOCKSTEP_S3_BUCKET_PREFIX: bucketPrefix, LOCKSTEP_S3_FORCE_PATH_STYLE: style } = env;
  if (style !== undefined && style !== "true" && style !== "false") {
    throw new UsageError(`LOCKSTEP_S3_FORCE_PATH_STYLE "${style}" is neither true nor false`);
  }
  const s3 = { endpoint, region, bucketPrefix, forcePathStyle: style === undefined ? undefined : style === "true" };
  return { objects: { s3: Object.fromEntries(Object.entries(s3).filter(([, value]) => value !== undefined && value !== "")) } };
};

/** Resolves when the command is interrupted. */
export const untilInterrupted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });

/** Pauses; rejects with `Interrupted` as soon as the command is. */
export const pauseUnlessInterrupted = ({ io }: Context, ms: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const interrupt = (): void => {
      stop();
      reject(new Interrupted("interrupted"));
    };
    const stop = io.clock.after(ms, () => {
      io.interrupted.removeEventListener("abort", interrupt);
      resolve();
    });
    if (io.interrupted.aborted) return interrupt();
    io.interrupted.addEventListener("abort", interrupt, { once: true });
  });
