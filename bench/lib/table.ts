/** Figures as aligned Markdown tables. */
import type { Spread } from "./repeat.ts";

/** Rows under their header, columns padded; columns whose cells are all figures are aligned to the right. */
export const markdownTable = (header: readonly string[], rows: readonly (readonly string[])[]): string => {
  const cells = [header, ...rows].map((row) => header.map((_, column) => (row[column] ?? "").replaceAll("|", "\\|")));
  const widths = header.map((_, column) => Math.max(3, ...cells.map((row) => (row[column] as string).length)));
  const right = header.map((_, column) => rows.length > 0 && rows.every((row) => /^[\d.,~<>–( ]|^$/.test(row[column] ?? "")));
  const pad = (text: string, column: number): string =>
    right[column] ? text.padStart(widths[column] as number) : text.padEnd(widths[column] as number);
  const line = (row: readonly string[]): string => `| ${row.map(pad).join(" | ")} |`;
  const rule = widths.map((width, column) => (right[column] ? `${"-".repeat(width - 1)}:` : "-".repeat(width)));
  const [head, ...body] = cells as [string[], ...string[][]];
  return [line(head), `| ${rule.join(" | ")} |`, ...body.map(line)].join("\n");
};

/** Three significant digits below 100, whole numbers with thousands separators above. */
export const figure = (value: number): string => {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(value < 1 ? 2 : 3)));
};

/** `1,240 (1,190–1,305)`: the median, then the least and the greatest of the repetitions; the median alone when there was one. */
export const figureWithSpread = ({ median, min, max }: Spread): string =>
  min === max || !Number.isFinite(median) ? figure(median) : `${figure(median)} (${figure(min)}–${figure(max)})`;

/** `3.2×` */
export const ratio = (ours: number, theirs: number): string =>
  Number.isFinite(ours) && Number.isFinite(theirs) && theirs > 0 ? `${figure(ours / theirs)}×` : "–";
