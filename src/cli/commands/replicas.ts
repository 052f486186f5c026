import type { ReplicaSetView } from "../../protocol/replica.ts";
import type { Context } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { withConnection } from "../options.ts";
import type { Column } from "../table.ts";
import type { Verb } from "../verb.ts";

export const replicasVerb: Verb = (program, does) => {
  withConnection(program.command("replicas"))
    .description("list the replica sets that are at work, and who sits in which seat")
    .action(
      does<[], object>(async (context) => {
        const client = await context.client();
        const replicaSets = await client.replicaSets();
        if (context.json) context.printJson({ replicaSets });
        else show(context, replicaSets);
        return EXIT.ok;
      }),
    );
};

type Seat = ReplicaSetView["replicas"][number];

const columns = ({ style }: Context): Column<Seat>[] => [
  { title: "SEAT", cell: (row) => row.index, right: true },
  { title: "POD", cell: (row) => row.pod },
  { title: "STATE", cell: (row) => row.state, paint: (text, row) => (row.state === "serving" ? text : style.yellow(text)) },
  { title: "", cell: (row) => (row.leader ? "leads" : undefined) },
  { title: "KEY", cell: (row) => row.key?.slice(0, 8) },
];

const show = (context: Context, sets: readonly ReplicaSetView[]): void => {
  if (sets.length === 0) return context.note('no replica set is at work: the first call of a function with trust "quorum" makes one');
  for (const set of sets) {
    const waits = set.state === "waiting" ? `, calls wait for ${2 * set.faults + 1}` : "";
    const calls = set.underWay === 0 ? "" : `, ${set.underWay} ${set.underWay === 1 ? "call" : "calls"} under way`;
    context.print(
      `${set.set}  ${set.state}, ${set.serving} of ${set.replicas.length} work${waits}, epoch ${set.epoch}, view ${set.view}${calls}\n`,
    );
    context.printTable(set.replicas, columns(context), "");
  }
};
