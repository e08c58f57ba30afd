import pkg from '@rudderstack/rudder-sdk-node'; const R=pkg.default??pkg;
const a=new R(process.env.WRITE_KEY,{dataPlaneUrl:process.env.HOST_URL,flushAt:20,flushInterval:200});
a.identify({userId:'ana',traits:{email:'ana@example.com'}});
a.track({userId:'ana',event:'Order Completed',properties:{order_id:'R1',currency:'EUR',subtotal:20,products:[{product_id:'mug',price:10,quantity:2}]}});
a.track({anonymousId:'anon-2',event:'Product Added',properties:{product_id:'mug',price:10,quantity:1}});
a.page({userId:'ana',name:'Home'});
a.group({userId:'ana',groupId:'club',traits:{plan:'pro'}});
a.alias({userId:'ana',previousId:'anon-2'});
await new Promise((ok,no)=>a.flush((e)=>e?no(e):ok())); setTimeout(()=>process.exit(0),300);
