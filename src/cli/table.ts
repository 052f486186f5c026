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
  const pad = (text: string, i: number): string => {
    if (columns[i]?.right) return text.padStart(widths[i] as number);
    return i === columns.length - 1 ? text : text.padEnd(widths[i] as number);
  };
  const head = columns.map(({ title }, i) => style.dim(pad(title, i))).join("  ");
  const body = cells.map((line, at) => {
    const painted = line.map((text, i) => columns[i]?.paint?.(pad(text, i), rows[at] as Row) ?? pad(text, i));
    return painted.join("  ").trimEnd();
  });
  return `${[head, ...body].join("\n")}\n`;
};
