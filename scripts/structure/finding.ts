export type Rule = "adapter" | "cycle" | "empty-catch" | "export-all" | "port-size" | "pure" | "syntax";

/** Something that breaks a house rule, and how to mend it. */
export interface Finding {
  level: "error" | "warning";
  rule: Rule;
  path: string;
  line: number;
  message: string;
  mend: string;
}
