import type { Io } from "./io.ts";
import { styleOf } from "./style.ts";
import { duration } from "./text.ts";

const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const SILENT_MS = 1_000;
const FRAME_MS = 100;
const CLEAR_LINE = "\r\u001b[2K";

/** Shows what is waited for, and how long already, from the second second on; only on a terminal. */
export const withProgress = async <T>(io: Io, what: () => string, work: () => Promise<T>): Promise<T> => {
  if (!io.stderr.isTTY) return await work();
  const style = styleOf(io.stderr, io.env);
  const startedAt = io.clock.now();
  let frame = 0;
  let stop = io.clock.after(SILENT_MS, function show() {
    const line = `${style.cyan(FRAMES[frame++ % FRAMES.length] as string)} ${what()} ${style.dim(duration(io.clock.now() - startedAt))}`;
    io.stderr.write(`${CLEAR_LINE}${line}`);
    stop = io.clock.after(FRAME_MS, show);
  });
  try {
    return await work();
  } finally {
    stop();
    if (frame > 0) io.stderr.write(CLEAR_LINE);
  }
};
