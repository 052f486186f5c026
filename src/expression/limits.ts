import { LockstepError } from "../lib/errors.ts";
import { columnOf } from "./errors.ts";

/** How large an expression may be. */
export interface ExpressionLimits {
  /** Length of the text in UTF-16 code units. */
  maxLength: number;
  /** Parentheses, calls and unary minuses inside one another. */
  maxDepth: number;
  /** Operators (binary and unary) and calls together: each may become a call of the run. */
  maxOperators: number;
}

export const DEFAULT_LIMITS: Readonly<ExpressionLimits> = { maxLength: 200_000, maxDepth: 1_000, maxOperators: 20_000 };

/** For a text that was measured before, when it was accepted. */
export const UNLIMITED: Readonly<ExpressionLimits> = {
  maxLength: Number.POSITIVE_INFINITY,
  maxDepth: Number.POSITIVE_INFINITY,
  maxOperators: Number.POSITIVE_INFINITY,
};

const EXCESS: Record<keyof ExpressionLimits, string> = {
  maxLength: "is longer than",
  maxDepth: "nests parentheses, calls and unary minuses deeper than",
  maxOperators: "has more operators and calls than",
};

/** @param position 0-based offset of what went beyond the limit */
export const tooLarge = (limit: keyof ExpressionLimits, maximum: number, position: number): LockstepError =>
  new LockstepError(
    "EXPRESSION_TOO_LARGE",
    `the expression ${EXCESS[limit]} the limit ${limit} of ${maximum} allows; it is exceeded at column ${columnOf(position)}`,
    { details: { limit, maximum, position } },
  );
