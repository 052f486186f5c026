import { withConnection } from "../options.ts";
import { duration } from "../text.ts";
import type { Verb } from "../verb.ts";

export const podsVerb: Verb = (program, does) => {
  withConnection(program.command("pods"))
    .description("list the pods")
    .action(
      does(async (context) => {
        const pods = await (await context.client()).pods();
        const now = context.io.clock.now();
        if (context.json) context.printJson({ pods });
        else {
          context.printTable(
            pods,
            [
              { title: "POD", cell: (row) => row.id },
              { title: "ROLE", cell: (row) => row.role },
              { title: "STATE", cell: (row) => row.state },
              { title: "CALLS", cell: (row) => `${row.inFlight}/${row.slots}`, right: true },
              { title: "PID", cell: (row) => row.pid, right: true },
              { title: "AGE", cell: (row) => duration(Math.max(0, now - row.startedAt)), right: true },
              { title: "APPLICATION", cell: (row) => row.application },
              { title: "VERSION", cell: (row) => row.version },
            ],
            "there are no pods",
          );
        }
        return undefined;
      }),
    );
};
