import os
import segment.analytics as a
a.write_key=os.environ["WRITE_KEY"]; a.host=os.environ["HOST_URL"]; a.gzip=os.environ.get("GZIP")=="1"
failed=[]
a.on_error=lambda e,items: failed.append(e)
a.identify(12345,{"email":"ana@example.com"})
a.track(12345,"Order Completed",{"order_id":"P1","currency":"EUR","subtotal":"19.90","products":[{"product_id":"mug","price":"9.95","quantity":2}]})
a.track(anonymous_id="anon-3",event="Product Added",properties={"product_id":"mug","price":9.95})
a.page("12345",name="Home"); a.screen("12345",name="Start"); a.group("12345","club",{"plan":"pro"}); a.alias("anon-3","12345")
a.shutdown()
if failed: raise SystemExit(str(failed))
