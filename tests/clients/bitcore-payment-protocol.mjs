// Pays an invoice by BIP70, with bitcore-payment-protocol for the messages.
//
// Standard input is the job: { url, signed, rival, refund }, two transactions and the refund's script in hex. Standard
// output is what the library read.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';

// The libraries are where this was started, not where it is.
const require = createRequire(`${process.cwd()}/`);
const PaymentProtocol = require('bitcore-payment-protocol');

const job = JSON.parse(readFileSync(0, 'utf8'));
const types = PaymentProtocol.LEGACY_PAYMENT.BCH;
const bytes = async response => Buffer.from(await response.arrayBuffer());
const hex = field => Buffer.from(field.toBuffer()).toString('hex');

const fetched = await fetch(job.url, { headers: { Accept: types.REQUEST_CONTENT_TYPE } });
const body = PaymentProtocol.PaymentRequest.decode(await bytes(fetched));
const request = new PaymentProtocol('BCH').makePaymentRequest(body);
const details = new PaymentProtocol('BCH').makePaymentDetails(
  PaymentProtocol.PaymentDetails.decode(request.get('serialized_payment_details'))
);

const output = new PaymentProtocol.Output();
output.set('amount', 0);
output.set('script', Buffer.from(job.refund, 'hex'));
const payment = new PaymentProtocol('BCH').makePayment();
payment.set('merchant_data', details.get('merchant_data'));
payment.set('transactions', [Buffer.from(job.signed, 'hex')]);
payment.set('refund_to', [output]);
payment.set('memo', 'Paid with bitcore');

const post = payment =>
  fetch(details.get('payment_url'), {
    method: 'POST',
    headers: {
      Accept: `${types.REQUEST_CONTENT_TYPE}, ${types.ACK_CONTENT_TYPE}`,
      'Content-Type': payment.getContentType(),
      'Content-Transfer-Encoding': 'binary'
    },
    body: payment.serialize()
  });
const posted = await post(payment);
const ack = PaymentProtocol.PaymentACK.decode(await bytes(posted));
// What pays again is refused, in words.
payment.set('transactions', [Buffer.from(job.rival, 'hex')]);
const refused = await post(payment);

console.log(
  JSON.stringify({
    request: {
      status: fetched.status,
      contentType: fetched.headers.get('content-type'),
      version: request.get('payment_details_version'),
      pkiType: request.get('pki_type'),
      verified: request.verify(true),
      validSize: request.isValidSize()
    },
    details: {
      network: details.get('network'),
      outputs: details.get('outputs').map(one => ({ amount: one.amount.toNumber(), script: hex(one.script) })),
      time: details.get('time'),
      expires: details.get('expires'),
      memo: details.get('memo'),
      paymentUrl: details.get('payment_url'),
      requiredFeeRate: details.get('required_fee_rate')
    },
    ack: {
      status: posted.status,
      contentType: posted.headers.get('content-type'),
      memo: ack.memo,
      transaction: hex(ack.payment.transactions[0]),
      paymentMemo: ack.payment.memo
    },
    refused: { status: refused.status, text: await refused.text() }
  })
);
