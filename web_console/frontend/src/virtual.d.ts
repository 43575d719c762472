declare module "virtual:icons" {
  export const SPRITE: string;
}
