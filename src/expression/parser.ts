// Owns: the grammar and precedence, the limits of size, and the tree with its spans.
// Doesn't own: what names mean (graph.ts) and when calls happen (machine.ts).
// I1: no recursion: what is open is on an explicit stack, so the depth of a text costs heap and never JS stack.
// I2: nodes are in postfix order: operands come before what uses them, the last node is the root, and each has exactly one user.
// I3: time and memory are linear in the length of the text.
import { characterAt, invalid } from "./errors.ts";
import type { Operator } from "./lexer.ts";
import { Lexer } from "./lexer.ts";
import type { ExpressionLimits } from "./limits.ts";
import { DEFAULT_LIMITS, tooLarge } from "./limits.ts";

/** Offsets of a sub-expression, its own parentheses included; `end` is exclusive. */
export interface Span {
  start: number;
  end: number;
}

/** `operands` are indexes of nodes; `position` is the offset of the operator or the function's name. */
export type TreeNode =
  | ({ kind: "number"; value: number } & Span)
  | ({ kind: "string"; value: string } & Span)
  | ({ kind: "variable"; name: string } & Span)
  | ({ kind: "negate"; operands: readonly number[]; position: number } & Span)
  | ({ kind: "operator"; operator: Operator; operands: readonly number[]; position: number } & Span)
  | ({ kind: "call"; name: string; operands: readonly number[]; position: number } & Span);

export interface Tree {
  readonly text: string;
  readonly nodes: readonly TreeNode[];
}

/** What was begun and waits for its (next) operand. `base`: how many operands there were before a call's first argument. */
interface Open {
  kind: "operator" | "negate" | "group" | "call";
  level: number;
  position: number;
  operator?: Operator;
  name?: string;
  base?: number;
}

const LEVEL: Readonly<Record<Operator, number>> = { "+": 1, "-": 1, "*": 2, "/": 2 };
const NEGATE_LEVEL = 3;
const NO_LEVEL = 0;
const OPERAND = ["a number", "a string", "a name", '"("', '"-"'];

/**
 * Parses an expression.
 * @param limits default: `DEFAULT_LIMITS`, each one by itself
 * @throws {LockstepError} EXPRESSION_INVALID with `details.position` (0-based) and `details.expected`; EXPRESSION_TOO_LARGE naming the limit
 */
export const parse = (text: string, limits: Partial<ExpressionLimits> = {}): Tree => {
  const maxLength = limits.maxLength ?? DEFAULT_LIMITS.maxLength;
  if (text.length > maxLength) throw tooLarge("maxLength", maxLength, maxLength);
  if (!text.isWellFormed()) throw halfCharacter(text);
  const parser = new Parser(text, limits.maxDepth ?? DEFAULT_LIMITS.maxDepth, limits.maxOperators ?? DEFAULT_LIMITS.maxOperators);
  return { text, nodes: parser.parse() };
};

class Parser {
  readonly #lexer: Lexer;
  readonly #maxDepth: number;
  readonly #maxOperators: number;
  readonly #nodes: TreeNode[] = [];
  /** Indexes of nodes that nothing uses yet. */
  readonly #operands: number[] = [];
  readonly #open: Open[] = [];
  #depth = 0;
  #operators = 0;

  constructor(text: string, maxDepth: number, maxOperators: number) {
    this.#lexer = new Lexer(text);
    this.#maxDepth = maxDepth;
    this.#maxOperators = maxOperators;
  }

  parse(): readonly TreeNode[] {
    for (;;) {
      if (this.#readOperand() && this.#readAfterOperand()) return this.#nodes;
    }
  }

  /** Reads a leaf, or opens what needs an operand itself. Tells whether an operand is complete. */
  #readOperand(): boolean {
    const { kind, start, end } = this.#lexer;
    switch (kind) {
      case "number":
        return this.#leaf({ kind: "number", value: this.#lexer.number, start, end });
      case "string":
        return this.#leaf({ kind: "string", value: this.#lexer.string, start, end });
      case "name":
        return this.#readName();
      case "(":
        return this.#enter({ kind: "group", level: NO_LEVEL, position: start });
      case "-":
        this.#count(start);
        return this.#enter({ kind: "negate", level: NEGATE_LEVEL, position: start });
      default:
        if (kind === ")" && this.#lacksArguments()) return this.#close();
        throw invalid(start, this.#lacksArguments() ? [...OPERAND, '")"'] : OPERAND, this.#lexer.found());
    }
  }

  #readName(): boolean {
    const { string: name, start, end } = this.#lexer;
    this.#lexer.advance();
    if (this.#lexer.kind !== "(") return this.#push({ kind: "variable", name, start, end });
    this.#count(start);
    return this.#enter({ kind: "call", level: NO_LEVEL, position: start, name, base: this.#operands.length });
  }

  /** Reads closing parentheses up to what asks for another operand (false) or the end of the text (true). */
  #readAfterOperand(): boolean {
    for (;;) {
      const { kind, start } = this.#lexer;
      if (kind === "+" || kind === "-" || kind === "*" || kind === "/") {
        this.#reduce(LEVEL[kind]);
        this.#count(start);
        this.#open.push({ kind: "operator", level: LEVEL[kind], position: start, operator: kind });
        this.#lexer.advance();
        return false;
      }
      this.#reduce(NO_LEVEL + 1);
      const around = this.#open.at(-1);
      if (kind === ")" && around !== undefined) {
        this.#close();
      } else if (kind === "," && around?.kind === "call") {
        this.#lexer.advance();
        return false;
      } else if (kind === "end" && around === undefined) {
        return true;
      } else {
        throw invalid(start, ["an operator", ...endings(around)], this.#lexer.found());
      }
    }
  }

  #leaf(node: TreeNode): true {
    this.#lexer.advance();
    return this.#push(node);
  }

  #push(node: TreeNode): true {
    this.#operands.push(this.#nodes.length);
    this.#nodes.push(node);
    return true;
  }

  #enter(open: Open): false {
    this.#depth++;
    if (this.#depth > this.#maxDepth) throw tooLarge("maxDepth", this.#maxDepth, open.position);
    this.#open.push(open);
    this.#lexer.advance();
    return false;
  }

  #count(position: number): void {
    this.#operators++;
    if (this.#operators > this.#maxOperators) throw tooLarge("maxOperators", this.#maxOperators, position);
  }

  #lacksArguments(): boolean {
    const around = this.#open.at(-1);
    return around?.kind === "call" && around.base === this.#operands.length;
  }

  /** Ends the innermost group or call with the current `)`. */
  #close(): true {
    const { name, position, base } = this.#open.pop() as Open;
    const end = this.#lexer.end;
    this.#depth--;
    this.#lexer.advance();
    if (name !== undefined)
      return this.#push({ kind: "call", name, operands: this.#operands.splice(base as number), position, start: position, end });
    const inner = this.#nodes[this.#operands.at(-1) as number] as TreeNode;
    inner.start = position;
    inner.end = end;
    return true;
  }

  /** Completes the open operators that bind at least as tightly as `level`: those of the same level too, as all associate to the left. */
  #reduce(level: number): void {
    for (let top = this.#open.at(-1); top !== undefined && top.level >= level; top = this.#open.at(-1)) {
      this.#open.pop();
      if (top.kind === "negate") this.#negate(top.position);
      else this.#combine(top.operator as Operator, top.position);
    }
  }

  #negate(position: number): void {
    this.#depth--;
    const index = this.#operands.at(-1) as number;
    const operand = this.#nodes[index] as TreeNode;
    if (operand.kind === "number") {
      // Folded here, so that nothing later takes the minus of a literal for a call. Subtracting keeps -0 out, as `subtract` would.
      operand.value = 0 - operand.value;
      operand.start = position;
      return;
    }
    this.#operands.pop();
    this.#push({ kind: "negate", operands: [index], position, start: position, end: operand.end });
  }

  #combine(operator: Operator, position: number): void {
    const right = this.#operands.pop() as number;
    const left = this.#operands.pop() as number;
    const { start } = this.#nodes[left] as TreeNode;
    const { end } = this.#nodes[right] as TreeNode;
    this.#push({ kind: "operator", operator, operands: [left, right], position, start, end });
  }
}

// A journal is UTF-8 and would bring back another text, from which a replay would make other calls.
const halfCharacter = (text: string): Error => {
  const position = text.search(/\p{Surrogate}/u);
  return invalid(position, ["both halves of a surrogate pair"], characterAt(text, position));
};

const endings = (around: Open | undefined): string[] => {
  if (around === undefined) return ["the end of the text"];
  return around.kind === "call" ? ['","', '")"'] : ['")"'];
};
