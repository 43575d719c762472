declare module "virtual:icons" {
  export const SPRITE: string;
}

declare module "virtual:phone-icons" {
  export const SPRITE: string;
}
