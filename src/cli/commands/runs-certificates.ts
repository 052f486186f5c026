import type { Command } from "commander";
import type { RunCertificate } from "../../client/index.ts";
import { replicasOf } from "../../consensus/membership.ts";
import { integerOption } from "../arguments.ts";
import { writeCertificate } from "../certificate-file.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import { dateAndTime } from "../text.ts";
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
          await writeCertificate(context, id, found, output);
        } else if (context.json) context.printJson(found);
        else context.printTable(found, COLUMNS, "no call of it has a certificate");
        return EXIT.ok;
      }),
    );
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
