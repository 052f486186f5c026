import { readFileSync } from "node:fs";
import { stackMapper } from "../application/source-map.ts";

/**
 * From now on stack traces of this process name the user's files and lines instead of the bundle's. A stack is made when it is first read, so
 * only errors whose stack somebody wants to see pay for it.
 */
export const nameUserFiles = (bundlePath: string): void => {
  const map = stackMapper(() => readFileSync(bundlePath, "utf8"), bundlePath);
  Error.prepareStackTrace = (error, frames) => {
    const stack = [headOf(error), ...frames.map((frame) => `    at ${frame}`)].join("\n");
    try {
      return map(stack);
    } catch {
      // The bundle or its map cannot be read any more: the trace still serves without it.
      return stack;
    }
  };
};

const headOf = (error: unknown): string => {
  try {
    return Error.prototype.toString.call(error);
  } catch {
    // A name or message whose getter throws must not hide where the error came from.
    return "Error";
  }
};
