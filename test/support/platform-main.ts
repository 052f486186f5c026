/**
 * A control plane as a process of its own, from the build: `node platform-main.ts '{"dataDirectory": …}'`. It tells on one line of standard output
 * where it listens, or why it does not start. It ends when its standard input does, so that nothing outlives whoever started it.
 */
import type { PlatformOptions } from "../../src/platform.ts";

const { startPlatform } = (await import(new URL("../../dist/platform.js", import.meta.url).href)) as typeof import("../../src/platform.ts");
const options = JSON.parse(process.argv[2] ?? "{}") as PlatformOptions;
const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  const platform = await startPlatform({
    ...options,
    log: (line) => process.stderr.write(`${line}\n`),
    onFatal: () => process.exit(70),
  });
  say({ url: platform.url });
  process.once("SIGTERM", () => void platform.stop().then(() => process.exit(0)));
  process.stdin.resume().once("end", () => process.exit(0));
} catch (error) {
  const { code, message } = error as { code?: string; message: string };
  say({ error: { code, message } });
  process.exit(1);
}
