/** The audit log in words: what its codes mean. A code without words is shown as it is. */
import { translator } from "../language.ts";

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
  "call.all": "全呼",
  "floor.revoke": "强拆讲话权",
  "group.create": "新建对讲组",
  "group.change": "修改对讲组",
  "group.delete": "解散对讲组",
  "patch.create": "建立跨组互通",
  "patch.change": "修改跨组互通",
  "patch.mute": "互通中静音",
  "patch.end": "结束跨组互通",
  "alarm.raise": "发出紧急告警",
  "alarm.acknowledge": "确认告警",
  "alarm.park": "搁置告警",
  "alarm.resume": "恢复告警",
  "alarm.close": "解除告警",
  "recording.play": "播放录音",
  "recording.search": "检索录音",
  "recording.erase": "删除录音",
  "recording.hold": "录音存证",
  "recording.verify": "校验录音",
} as const;

/** What is wrong with the first bad entry. */
const zhProblems = {
  missing: "这一条被删除",
  unlinked: "与前一条不衔接",
  changed: "写入后被改动",
  cut: "之后的记录被截断",
  damaged: "内容已损坏",
} as const;

// The server's sentence by its beginning.
const PROBLEMS: readonly (readonly [RegExp, keyof typeof zhProblems])[] = [
  [/^missing/, "missing"],
  [/^it does not follow/, "unlinked"],
  [/^it was changed/, "changed"],
  [/^the chain ends here/, "cut"],
  [/^a field has the wrong kind/, "damaged"],
];

export const auditStrings = zh;
export const auditProblemStrings = zhProblems;
const action = translator("audit", zh);
const problem = translator("auditProblems", zhProblems);

export function actionWords(code: string): string {
  return code in zh ? action(code as keyof typeof zh) : code;
}

export function chainProblem(sentence: string): string {
  const known = PROBLEMS.find(([begin]) => begin.test(sentence));
  return known ? problem(known[1]) : sentence;
}
