import { writeFile } from "node:fs/promises";
import path from "node:path";
import type { Command } from "commander";
import type { RunCertificate } from "../../client/index.ts";
import { certificateText } from "../../consensus/certificate.ts";
import { replicasOf } from "../../consensus/membership.ts";
import { integerOption } from "../arguments.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { dateAndTime } from "../text.ts";
import { UsageError } from "../usage-error.ts";
import type { Does } from "../verb.ts";

interface Options {
  call?: string;
  output?: string;
}

export const certificates = (runs: Command, does: Does): void => {
  withConnection(runs.command("certificates"))
    .description("list the certificates of a run's calls, or write one to a file")
    .argument("<id>", "id of the run")
    .option("--call <number>", "only that of this call")
    .option("--output <file>", "write it to this file, for `lockstep verify`")
    .action(
      does<[string], Options>(async (context, [id], { call, output }) => {
        const number = integerOption("call", call, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
        const all = await (await context.client()).run(id).certificates();
        const found = number === undefined ? all : all.filter((each) => each.call === number);
        if (output !== undefined) {
          const one = theOne(id, found);
          await writeFile(path.resolve(context.io.cwd, output), certificateText(one.certificate));
          context.note(`certificate of call ${one.call} of ${one.function} in ${output}`);
        } else if (context.json) context.printJson(found);
        else context.printTable(found, COLUMNS, "no call of it has a certificate");
        return EXIT.ok;
      }),
    );
};

/** The last, where a call that was tried again has several. */
const theOne = (id: string, found: readonly RunCertificate[]): RunCertificate => {
  const calls = [...new Set(found.map(({ call }) => call))];
  const last = found.at(-1);
  if (last === undefined) throw new UsageError(`${id} has no such certificate`, "Its certificates are listed without --output.");
  if (calls.length > 1) throw new UsageError(`${id} has certificates of calls ${calls.join(", ")}`, "Choose one by --call.");
  return last;
};

const COLUMNS = [
  { title: "CALL", cell: ({ call }: RunCertificate) => `${call}` },
  { title: "FUNCTION", cell: (row: RunCertificate) => row.function },
  { title: "ENDED", cell: ({ at }: RunCertificate) => dateAndTime(at) },
  {
    title: "VOTES",
    cell: ({ certificate: { votes, membership } }: RunCertificate) => `${votes.length} of ${replicasOf(membership.membership.faults)}`,
  },
  { title: "EPOCH", cell: ({ certificate }: RunCertificate) => `${certificate.membership.membership.epoch}` },
  { title: "SEQUENCE", cell: ({ certificate }: RunCertificate) => `${certificate.statement.sequence}` },
];
