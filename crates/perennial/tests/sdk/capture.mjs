// A server that keeps what it receives: node capture.mjs PORT OUTDIR
import http from 'node:http'; import fs from 'node:fs';
const [port,out]=process.argv.slice(2); fs.mkdirSync(out,{recursive:true}); let n=0;
http.createServer((q,r)=>{const c=[];q.on('data',d=>c.push(d));q.on('end',()=>{
 const body=Buffer.concat(c); const h={...q.headers};
 for(const k of ['host','connection','content-length','accept','accept-language','sec-fetch-mode','origin','referer']) delete h[k];
 const rec={method:q.method,path:q.url,headers:h};
 const text=body.toString('utf8'); if(Buffer.from(text).equals(body)) rec.body=text; else rec.body_base64=body.toString('base64');
 fs.writeFileSync(`${out}/${String(++n).padStart(2,'0')}.json`,JSON.stringify(rec,null,1)+'\n');
 r.setHeader('access-control-allow-origin','*');r.setHeader('access-control-allow-headers','authorization,content-type,x-retry-count');
 r.setHeader('content-type','application/json');
 if(q.url.includes('/settings')) r.end(JSON.stringify({integrations:{'Segment.io':{apiKey:'wk_test',apiHost:`localhost:${port}/v1`,protocol:'http'}},plan:{},edgeFunction:{}}));
 else r.end('{"success":true}');
})}).listen(+port,'127.0.0.1');
