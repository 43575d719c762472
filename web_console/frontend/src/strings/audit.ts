/** The audit log in words: what its codes mean. A code without words is shown as it is. */
import { language } from "../language.ts";

type Words = Record<string, string>;

const zh = {
  "audit.read": "查看审计日志",
  "audit.verify": "校验审计日志",
  "device.add": "添加设备",
  "device.revoke": "撤销设备",
  "device.token": "更换设备凭证",
  "link.create": "生成邀请链接",
  "link.revoke": "撤销邀请链接",
  "link.use": "使用邀请链接",
  login: "登录",
  logout: "退出登录",
  "session.end": "结束登录",
  setup: "初始化",
  "stream.add": "添加视频",
  "stream.close": "结束推送",
  "stream.token": "签发视频令牌",
  "unit.rename": "单位改名",
  "user.add": "添加用户",
  "user.password": "修改密码",
  "user.role": "修改角色",
  "user.disable": "停用用户",
  "user.enable": "启用用户",
} as const;

const en: Record<keyof typeof zh, string> = {
  "audit.read": "Read the audit log",
  "audit.verify": "Verified the audit log",
  "device.add": "Added a device",
  "device.revoke": "Revoked a device",
  "device.token": "Gave a device a new token",
  "link.create": "Made a join link",
  "link.revoke": "Revoked a join link",
  "link.use": "Used a join link",
  login: "Log-in",
  logout: "Log-out",
  "session.end": "Ended a log-in",
  setup: "Set-up",
  "stream.add": "Added a video",
  "stream.close": "Ended a publisher",
  "stream.token": "Issued a stream token",
  "unit.rename": "Renamed a unit",
  "user.add": "Added a user",
  "user.password": "Changed a password",
  "user.role": "Changed a role",
  "user.disable": "Disabled a user",
  "user.enable": "Enabled a user",
};

/** What is wrong with the first bad entry: the server's sentence by its beginning. */
const zhProblems: [RegExp, string][] = [
  [/^missing/, "这一条被删除"],
  [/^it does not follow/, "与前一条不衔接"],
  [/^it was changed/, "写入后被改动"],
  [/^the chain ends here/, "之后的记录被截断"],
  [/^a field has the wrong kind/, "内容已损坏"],
];
const enProblems: [RegExp, string][] = [
  [/^missing/, "it was removed"],
  [/^it does not follow/, "it does not follow the one before it"],
  [/^it was changed/, "it was changed after it was written"],
  [/^the chain ends here/, "what came after it was cut off"],
  [/^a field has the wrong kind/, "it is damaged"],
];

export const auditStrings = { zh, en };

export function actionWords(action: string): string {
  const words: Words = language.value === "en" ? en : zh;
  return words[action] ?? action;
}

export function chainProblem(problem: string): string {
  const known = language.value === "en" ? enProblems : zhProblems;
  return known.find(([begin]) => begin.test(problem))?.[1] ?? problem;
}
