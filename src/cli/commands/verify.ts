import { readFile } from "node:fs/promises";
import path from "node:path";
import type { Verification, VerifyOptions } from "../../verify/index.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import type { Io } from "../io.ts";
import { UsageError } from "../usage-error.ts";
import type { Verb } from "../verb.ts";

interface Options {
  adminKey?: string;
  call?: string;
  input?: string;
  result?: string;
  outcome?: string;
}

const LINE_END = 10;

const WHERE_KEYS_ARE =
  "It is keys/admin.pub in the platform's data directory. Copy it once, in a way that you trust, and name it by --admin-key or LOCKSTEP_ADMIN_KEY.";

export const verifyVerb: Verb = (program, does) => {
  program
    .command("verify")
    .description("check a certificate of a replica set, without a platform")
    .argument("<file>", "the certificate, or - for standard input")
    .option("--admin-key <file>", "public key of the platform's admin, PEM or raw base64url (default: the file in LOCKSTEP_ADMIN_KEY)")
    .option("--call <run/call>", "it must be of this call, such as run_00jx3v9k2m7/3")
    .option("--input <file>", "JSON: the call must have had this input")
    .option("--result <file>", "JSON: the call must have given this result")
    .option("--outcome <file>", '{"value":…} or {"failure":…}: the call must have come to this, to the letter')
    .option("--json", "print what was found on one line")
    .action(
      does<[string], Options>(async (context, [file], options) => {
        const verification = await examine(context.io, file, options);
        if (context.json) context.printJson(shown(verification));
        else context.print(textOf(context, verification, options));
        return verification.ok ? EXIT.ok : EXIT.failed;
      }),
    );
};

const examine = async (io: Io, file: string, options: Options): Promise<Verification> => {
  const { verifyCertificate } = await import("../../verify/index.ts");
  const base: VerifyOptions = { adminKey: await adminKeyOf(io, options.adminKey) };
  const certificate = await bytesOf(io, file);
  const verification = ofCall(verifyCertificate(certificate, base), options.call);
  const asked = [
    { name: "input", texts: await jsonTexts(io, "input", options.input) },
    { name: "outcome", texts: (await jsonTexts(io, "result", options.result))?.map(outcomeOfValue) },
    { name: "outcome", texts: options.outcome === undefined ? undefined : [await textIn(io, "outcome", options.outcome)] },
  ];
  return asked.reduce((before, { name, texts = [] }) => {
    if (!before.ok) return before;
    const results = texts.map((text) => verifyCertificate(certificate, { ...base, [name]: text }));
    return results.find(({ ok }) => ok) ?? results[0] ?? before;
  }, verification);
};

/** An operation is named `run/call/attempt`: whoever asks for a call may leave out the attempt. */
const ofCall = (verification: Verification, call: string | undefined): Verification => {
  if (!verification.ok || call === undefined) return verification;
  const { operation } = verification.statement;
  if (operation === call || operation.startsWith(`${call}/`)) return verification;
  const field = "statement.operation";
  return { ok: false, field, reason: `${field}: is ${JSON.stringify(operation)}, not ${JSON.stringify(call)}` };
};

const adminKeyOf = async (io: Io, given: string | undefined): Promise<string> => {
  const file = given ?? io.env.LOCKSTEP_ADMIN_KEY;
  if (file === undefined || file === "")
    throw new UsageError("a certificate is checked against the key of the platform's admin", WHERE_KEYS_ARE);
  const text = await textIn(io, "admin-key", file);
  const { publicKeyFrom } = await import("../../replicas/node-crypto.ts");
  try {
    return publicKeyFrom(text);
  } catch (error) {
    throw new UsageError(`--admin-key ${file} is ${(error as Error).message}`, WHERE_KEYS_ARE);
  }
};

/** Without the line end that editors and shells put behind a text. */
const bytesOf = async (io: Io, file: string): Promise<Uint8Array | string> => {
  if (file === "-") return (await io.stdin()).replace(/\n$/, "");
  const bytes = await readFile(path.resolve(io.cwd, file)).catch((error: Error) => {
    throw new UsageError(`${file} cannot be read: ${error.message}`);
  });
  return bytes.at(-1) === LINE_END ? bytes.subarray(0, -1) : bytes;
};

const textIn = async (io: Io, option: string, file: string): Promise<string> => {
  const text = await readFile(path.resolve(io.cwd, file), "utf8").catch((error: Error) => {
    throw new UsageError(`--${option} cannot be read: ${error.message}`);
  });
  return text.trim();
};

/** As it is written, and as the SDK would write it: replicas hash the call's own text, and files tend to be indented. */
const jsonTexts = async (io: Io, option: string, file: string | undefined): Promise<string[] | undefined> => {
  if (file === undefined) return undefined;
  const text = await textIn(io, option, file);
  if (text === "") return [text];
  try {
    return [...new Set([JSON.stringify(JSON.parse(text)), text])];
  } catch (error) {
    throw new UsageError(`--${option} ${file} is not JSON: ${(error as Error).message}`);
  }
};

const outcomeOfValue = (value: string): string => (value === "" ? "{}" : `{"value":${value}}`);

const shown = (verification: Verification): object => {
  if (!verification.ok) return { valid: false, field: verification.field, reason: verification.reason };
  const { statement, membership, replicas } = verification;
  const { set, application, function: name, epoch, faults } = membership;
  return { valid: true, ...statement, set, application, function: name, epoch, faults, replicas };
};

const textOf = ({ style }: Context, verification: Verification, options: Options): string => {
  if (!verification.ok) return `${style.red("refused")}: ${verification.reason}\n`;
  const { statement, membership, replicas } = verification;
  const compared = (option: unknown): string => (option === undefined ? "" : style.dim(" (as given)"));
  const rows = [
    ["call", `${statement.operation}${statement.key === "" ? "" : `, key ${JSON.stringify(statement.key)}`}${compared(options.call)}`],
    ["function", `${membership.function} of ${membership.application}, version ${statement.version}`],
    ["input", `sha256 ${statement.inputHash}${compared(options.input)}`],
    ["result", `sha256 ${statement.resultHash}${compared(options.result ?? options.outcome)}`],
    ["sequence", `${statement.sequence}, place ${statement.position} of its batch`],
    [
      "replicas",
      `${replicas.join(", ")} of ${membership.replicas.length} in epoch ${membership.epoch}; ${membership.faults} may be faulty`,
    ],
  ];
  return [
    `${style.green("valid")}: ${replicas.length} replicas have signed this result`,
    ...rows.map(([name, value]) => `  ${name!.padEnd(9)}${value}`),
    "",
  ].join("\n");
};
