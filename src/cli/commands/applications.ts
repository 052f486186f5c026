import { withConnection } from "../options.ts";
import { dateAndTime } from "../text.ts";
import type { Verb } from "../verb.ts";

export const applicationsVerb: Verb = (program, does) => {
  withConnection(program.command("applications"))
    .description("list the deployed versions")
    .action(
      does(async (context) => {
        const applications = await (await context.client()).applications();
        if (context.json) context.printJson({ applications });
        else {
          context.printTable(
            applications,
            [
              { title: "APPLICATION", cell: (row) => row.application },
              { title: "VERSION", cell: (row) => row.version },
              { title: "CURRENT", cell: (row) => (row.current ? "yes" : "") },
              { title: "DEPLOYED", cell: (row) => dateAndTime(row.deployedAt) },
              { title: "FUNCTIONS", cell: (row) => row.manifest.functions.map(({ name }) => name).join(" ") },
              { title: "COORDINATORS", cell: (row) => row.manifest.coordinators.map(({ name }) => name).join(" ") },
            ],
            "no application is deployed",
          );
        }
        return undefined;
      }),
    );
};
