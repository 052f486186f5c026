import type { Style } from "./style.ts";

export interface Column<Row> {
  title: string;
  cell: (row: Row) => string | number | undefined;
  /** Numbers stand at the right. */
  right?: boolean;
  paint?: (text: string, row: Row) => string;
}

/** Rows below aligned titles; no trailing spaces, and an empty list is empty text. */
export const table = <Row>(rows: readonly Row[], columns: readonly Column<Row>[], style: Style): string => {
  if (rows.length === 0) return "";
  const cells = rows.map((row) => columns.map(({ cell }) => String(cell(row) ?? "")));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((line) => (line[i] as string).length)));
  const pad = (text: string, i: number): string =>
    columns[i]?.right ? text.padStart(widths[i] as number) : text.padEnd(widths[i] as number);
  const head = columns.map(({ title }, i) => style.dim(i === columns.length - 1 ? pad(title, i).trimEnd() : pad(title, i))).join("  ");
  const body = cells.map((line, at) =>
    line
      .map((text, i) => {
        const padded = i === columns.length - 1 ? pad(text, i).trimEnd() : pad(text, i);
        return columns[i]?.paint?.(padded, rows[at] as Row) ?? padded;
      })
      .join("  "),
  );
  return `${[head, ...body].join("\n")}\n`;
};
