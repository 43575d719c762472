import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { ConsoleModel } from "./model.ts";

export const ModelContext = createContext<ConsoleModel | null>(null);

export function useModel(): ConsoleModel {
  const model = useContext(ModelContext);
  if (!model) throw new Error("a console view stands outside the console");
  return model;
}
