/** The Standard Schema interface (v1), which zod, valibot, arktype and others implement: all that Lovage asks of a schema. */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

/** What a value has wrong, and where in it. */
export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** A schema of whatever values. */
// biome-ignore lint/suspicious/noExplicitAny: inference over any schema needs its variance switched off, as the standard's own types do
export type AnySchema = StandardSchema<any, any>;
export type SchemaInput<S extends AnySchema> = NonNullable<S["~standard"]["types"]>["input"];
export type SchemaOutput<S extends AnySchema> = NonNullable<S["~standard"]["types"]>["output"];
