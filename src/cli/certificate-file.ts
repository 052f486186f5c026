import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { RunCertificate } from "../client/index.ts";
import { certificateText } from "../consensus/certificate.ts";
import type { Context } from "./context.ts";
import { UsageError } from "./usage-error.ts";

/**
 * Writes the one certificate that is there to a file, for `lockstep verify`.
 * @throws {UsageError} where there is none, or it is not clear of which call
 */
export const writeCertificate = async (context: Context, id: string, found: readonly RunCertificate[], file: string): Promise<void> => {
  const one = theOne(id, found);
  await writeFile(path.resolve(context.io.cwd, file), certificateText(one.certificate));
  context.note(`certificate of call ${one.call} of ${one.function} in ${file}`);
};

/** The last, where a call that was tried again has several. */
const theOne = (id: string, found: readonly RunCertificate[]): RunCertificate => {
  const calls = [...new Set(found.map(({ call }) => call))];
  const last = found.at(-1);
  if (last === undefined) throw new UsageError(`${id} has no such certificate`, "Its certificates are listed without --output.");
  if (calls.length > 1) throw new UsageError(`${id} has certificates of calls ${calls.join(", ")}`, "Choose one by --call.");
  return last;
};
