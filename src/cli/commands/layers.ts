import { withConnection } from "../options.ts";
import { duration } from "../text.ts";
import type { Verb } from "../verb.ts";

export const layersVerb: Verb = (program, does) => {
  withConnection(program.command("layers"))
    .description("list the functions' queues")
    .action(
      does(async (context) => {
        const layers = await (await context.client()).layers();
        if (context.json) context.printJson({ layers });
        else {
          context.printTable(
            layers,
            [
              { title: "FUNCTION", cell: (row) => row.function },
              { title: "WAITING", cell: (row) => (row.throttled ? `${row.waiting} (throttled)` : row.waiting), right: true },
              { title: "DELAYED", cell: (row) => row.delayed, right: true },
              { title: "RUNNING", cell: (row) => row.running, right: true },
              {
                title: "DEAD",
                cell: (row) => row.dead,
                right: true,
                paint: (text, row) => (row.dead > 0 ? context.style.red(text) : text),
              },
              { title: "OLDEST", cell: (row) => duration(row.oldestWaitingMs), right: true },
              { title: "IN/S", cell: (row) => row.enqueuedPerSecond.toFixed(1), right: true },
              { title: "OUT/S", cell: (row) => row.completedPerSecond.toFixed(1), right: true },
              { title: "COMPLETED", cell: (row) => row.completed, right: true },
              { title: "FAILED", cell: (row) => row.failed, right: true },
              { title: "PODS", cell: (row) => row.pods, right: true },
              { title: "APPLICATION", cell: (row) => row.application },
            ],
            "there are no layers: no application is deployed",
          );
        }
        return undefined;
      }),
    );
};
